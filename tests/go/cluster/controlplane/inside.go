package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// Of the Service `kubernetes`, and really the API server's: no kube-proxy is needed to reach it.
	serviceIP = "10.96.0.1"
	// The node's, and the gateway of the Pods' network, which is the bridge.
	nodeIP   = "10.244.0.1"
	nodeIPv6 = "fd00:10:244::1"
	bridge   = "pods"

	startDeadline = 3 * time.Minute
)

// runInside starts the cluster as the first process of the new namespaces, and never returns while it
// works.
func runInside(o options) error {
	if err := prepareNamespaces(); err != nil {
		return err
	}
	listener, err := net.Listen("unix", o.socket())
	if err != nil {
		return err
	}
	go relay(listener, "tcp", "127.0.0.1:443")

	ended := make(chan error)
	if err := o.startControlPlane(ended); err != nil {
		return err
	}
	if err := o.startNode(ended); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.dir, "ready"), nil, 0o644); err != nil {
		return err
	}
	fmt.Println("ready")
	return <-ended
}

// prepareNamespaces mounts what must not be the machine's own, and lays the Pods' network.
func prepareNamespaces() error {
	mounts := []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"none", "/", "", syscall.MS_REC | syscall.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"tmpfs", "/run", "tmpfs", 0},
	}
	for _, m := range mounts {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	if err := os.Mkdir("/run/netns", 0o755); err != nil {
		return err
	}
	for _, line := range []string{
		"link set lo up",
		"address add " + serviceIP + "/32 dev lo",
		"link add " + bridge + " type bridge",
		"address add " + nodeIP + "/16 dev " + bridge,
		"address add " + nodeIPv6 + "/64 dev " + bridge + " nodad",
		"link set " + bridge + " up",
	} {
		if output, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s (of Debian's iproute2): %w\n%s", line, err, output)
		}
	}
	return nil
}

// start runs a program of the tools until the cluster ends. What it writes goes to NAME.log.
func (o options) start(ended chan<- error, name string, args ...string) error {
	log, err := os.Create(filepath.Join(o.dir, name+".log"))
	if err != nil {
		return err
	}
	command := exec.Command(filepath.Join(o.tools, name), args...)
	command.Dir = o.dir
	command.Env = append(os.Environ(), "KUBECONFIG="+o.insideKubeconfig())
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		return err
	}
	go func() { ended <- fmt.Errorf("%s ended: %w; see %s", name, command.Wait(), log.Name()) }()
	return nil
}

func (o options) startControlPlane(ended chan error) error {
	file := func(name string) string { return filepath.Join(o.dir, name) }
	err := o.start(ended, "etcd", "--data-dir", file("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
		"--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "error")
	if err != nil {
		return err
	}
	apiserver := []string{
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0", "--secure-port=443", "--advertise-address=" + nodeIP, "--endpoint-reconciler-type=none",
		"--tls-cert-file=" + file("apiserver.crt"), "--tls-private-key-file=" + file("apiserver.key"),
		"--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112",
		"--authorization-mode=RBAC", "--token-auth-file=" + file("tokens.csv"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + file("service-accounts.key"),
		"--service-account-signing-key-file=" + file("service-accounts.key"),
		// A webhook's Service is called by its endpoints, without kube-proxy.
		"--enable-aggregator-routing=true",
		"--enable-priority-and-fairness=false",
	}
	if o.emulatedVersion != "" {
		apiserver = append(apiserver, "--emulated-version="+o.emulatedVersion)
	}
	if err := o.start(ended, "kube-apiserver", apiserver...); err != nil {
		return err
	}
	client, err := o.client()
	if err != nil {
		return err
	}
	if err := within(ended, "the API server is not ready", func(ctx context.Context) error {
		return client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}); err != nil {
		return err
	}
	err = o.start(ended, "kube-controller-manager", "--kubeconfig="+o.insideKubeconfig(), "--leader-elect=false",
		"--service-account-private-key-file="+file("service-accounts.key"), "--root-ca-file="+file("ca.crt"),
		// The node has no lease: its agent ends with the cluster, and the cluster with its agent.
		"--controllers=*,-node-lifecycle-controller,-node-ipam-controller")
	if err != nil {
		return err
	}
	// Resources first, then those who watch them.
	crds := exec.Command(filepath.Join(o.tools, "kubectl"), "--kubeconfig", o.insideKubeconfig(), "apply", "--server-side",
		"-f", filepath.Join(o.tools, "crds"))
	if output, err := crds.CombinedOutput(); err != nil {
		return fmt.Errorf("applying CustomResourceDefinitions: %w\n%s", err, output)
	}
	if err := within(ended, "cert-manager's resources are not served", func(ctx context.Context) error {
		return client.RESTClient().Get().AbsPath("/apis/cert-manager.io/v1/certificates").Do(ctx).Error()
	}); err != nil {
		return err
	}
	return o.start(ended, "certmanager", "-injector-feature-gates", o.injectorGates)
}

// startNode starts the agent, and waits until a Pod could be made.
func (o options) startNode(ended chan error) error {
	args := []string{"-dir", o.dir, "-ip", nodeIP, "-ip6", nodeIPv6, "-bridge", bridge,
		"-path", o.tools}
	for _, image := range o.images {
		args = append(args, "-image", image)
	}
	if err := o.start(ended, "node", args...); err != nil {
		return err
	}
	client, err := o.client()
	if err != nil {
		return err
	}
	return within(ended, "the node or the default ServiceAccount is not there", func(ctx context.Context) error {
		if _, err := client.CoreV1().Nodes().Get(ctx, "node", metav1.GetOptions{}); err != nil {
			return err
		}
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func (o options) client() (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", o.insideKubeconfig())
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// within repeats a question until it is answered without an error.
func within(ended <-chan error, complaint string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case ended := <-ended:
			return ended
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", complaint, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
