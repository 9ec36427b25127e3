// Command controlplane runs a Kubernetes cluster of one node on this machine: etcd, kube-apiserver,
// kube-controller-manager, cert-manager's controllers and the agent that stands in for the kubelet.
//
// All of it lives in namespaces of its own (network, process identifiers, mounts), so several run
// side by side with the same addresses, nothing of them is seen outside, and nothing is left of them:
// when this program ends, in whatever way, the kernel ends all that it started. It ends when its
// standard input does, or on SIGINT and SIGTERM.
//
// As root it needs nothing else; as another user it needs unprivileged user namespaces and a range of
// subordinate user ids (Debian: uidmap). When the cluster answers, its kubeconfig is in the folder.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// What a cluster is made with, by the flags of the same names.
type options struct {
	tools           string
	dir             string
	images          images
	emulatedVersion string
	injectorGates   string
}

// NAME=PROGRAM, once for each image that the node knows.
type images []string

func (i *images) String() string { return strings.Join(*i, " ") }

func (i *images) Set(value string) error {
	if name, program, ok := strings.Cut(value, "="); !ok || name == "" || program == "" {
		return fmt.Errorf("expected NAME=PROGRAM")
	}
	*i = append(*i, value)
	return nil
}

func main() {
	var o options
	flag.StringVar(&o.tools, "tools", "", "folder of the programs that tests/cluster/tools builds")
	flag.StringVar(&o.dir, "dir", "", "empty folder for the cluster's files; its kubeconfig is written there")
	flag.Var(&o.images, "image", "NAME=PROGRAM: what the node runs for Pods of that image; HOST as the program: commands of this machine")
	flag.StringVar(&o.emulatedVersion, "emulated-version", "", "the Kubernetes version that the API server emulates, as 1.34")
	flag.StringVar(&o.injectorGates, "injector-feature-gates", "", "feature gates of cert-manager's CA injector")
	inside := flag.Bool("inside", false, "this is the part in the namespaces (not for people)")
	flag.Parse()
	if o.tools == "" || o.dir == "" {
		fatal(fmt.Errorf("-tools and -dir are needed"))
	}
	// A socket's path holds 108 bytes, and the folder may be deep: it is named from within the folder.
	err := o.enterDir()
	if err != nil {
		fatal(err)
	}
	if *inside {
		err = runInside(o)
	} else {
		err = runOutside(o)
	}
	if err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "controlplane:", err)
	os.Exit(1)
}

// runOutside starts this program again inside new namespaces, and relays connections from loopback to
// the API server in there.
func runOutside(o options) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	keys, err := makeKeys(o.dir)
	if err != nil {
		return err
	}
	if err := keys.writeKubeconfig(o.outsideKubeconfig(), listener.Addr().String()); err != nil {
		return err
	}
	if err := keys.writeKubeconfig(o.insideKubeconfig(), "127.0.0.1:443"); err != nil {
		return err
	}
	go relay(listener, "unix", o.socket())

	// The signal of a parent's death follows the thread that started the child.
	runtime.LockOSThread()
	child := exec.Command("/proc/self/exe", o.insideArgs()...)
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true,
	}
	if os.Geteuid() != 0 {
		// newuidmap maps what the kernel lets no unprivileged user map by himself.
		self, err := os.Executable()
		if err != nil {
			return err
		}
		child = exec.Command("unshare", append([]string{
			"--user", "--map-root-user", "--map-auto", "--net", "--pid", "--mount", "--fork", "--kill-child", self,
		}, o.insideArgs()...)...)
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	}
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return fmt.Errorf("cannot make namespaces (as root, or with unprivileged user namespaces): %w", err)
	}

	// For whoever wants to run something inside: `nsenter --target PID --net`.
	if err := os.WriteFile(filepath.Join(o.dir, "pid"), []byte(strconv.Itoa(child.Process.Pid)), 0o644); err != nil {
		return err
	}

	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGINT, syscall.SIGTERM)
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("the cluster ended by itself: %v", err)
	case <-stopped:
	case <-closed:
	}
	_ = child.Process.Kill()
	<-ended
	return nil
}

func (o options) insideArgs() []string {
	args := []string{"-inside", "-tools", o.tools, "-dir", o.dir, "-emulated-version", o.emulatedVersion,
		"-injector-feature-gates", o.injectorGates}
	for _, image := range o.images {
		args = append(args, "-image", image)
	}
	return args
}

func (o options) outsideKubeconfig() string { return filepath.Join(o.dir, "kubeconfig") }
func (o options) insideKubeconfig() string  { return filepath.Join(o.dir, "kubeconfig-inside") }

func (o options) socket() string { return "api.sock" }

// enterDir makes the folder the working directory, and the other paths absolute.
func (o *options) enterDir() (err error) {
	if o.tools, err = filepath.Abs(o.tools); err != nil {
		return err
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	return os.Chdir(o.dir)
}

// relay passes on what arrives at the listener, and the answers.
func relay(listener net.Listener, network, address string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer client.Close()
			server, err := net.Dial(network, address)
			if err != nil {
				return
			}
			defer server.Close()
			go func() {
				_, _ = io.Copy(server, client)
				if half, ok := server.(interface{ CloseWrite() error }); ok {
					_ = half.CloseWrite()
				}
			}()
			_, _ = io.Copy(client, server)
		}()
	}
}
