package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The first argument of this program when it is to become a Pod's process.
const enterCommand = "enter"

// What a Pod's process is, for the program that becomes it.
type process struct {
	// The network namespace, or none for the node's own.
	Netns string
	// The root, or none for the machine's own, in which case Mounts are made in it.
	Root   string
	Mounts map[string]string
	UID    int
	GID    int
	Groups []int
	// Whether execve may give rights that the process has not.
	Privileges bool
	Argv       []string
	Env        []string
}

func (p *pod) root() string { return filepath.Join(p.dir, "root") }

func (p *pod) mountPoint(i int) string {
	return filepath.Join(p.root(), p.spec.Containers[0].VolumeMounts[i].MountPath)
}

// command is the Pod's process, to be started. The program is the image's only file, at the root.
func (p *pod) command() (*exec.Cmd, error) {
	container := p.spec.Containers[0]
	uid, gid, err := p.spec.user()
	if err != nil {
		return nil, err
	}
	became := process{UID: int(uid), GID: int(gid), Argv: append([]string{}, container.Command...)}
	if p.netns != "" {
		became.Netns = "/run/netns/" + p.netns
	}
	if group := p.spec.SecurityContext.FSGroup; group != nil {
		became.Groups = []int{int(*group)}
	}
	if allow := container.SecurityContext.AllowPrivilegeEscalation; allow == nil || *allow {
		became.Privileges = true
	}
	program := p.node.program(container.Image)
	if program == host {
		became.Mounts = map[string]string{}
		for _, mount := range container.VolumeMounts {
			became.Mounts[mount.MountPath] = p.volumeDir(mount.Name)
		}
		became.Env = append(became.Env, "PATH="+p.node.path+":"+os.Getenv("PATH"))
	} else {
		became.Root = p.root()
		if err := p.makeRoot(program); err != nil {
			return nil, err
		}
		if len(became.Argv) == 0 {
			became.Argv = []string{"/" + filepath.Base(program)}
		}
	}
	became.Argv = append(became.Argv, container.Args...)
	became.Env = append(became.Env, "HOME=/", "HOSTNAME="+p.object.Name, "KUBERNETES_SERVICE_HOST=10.96.0.1",
		"KUBERNETES_SERVICE_PORT=443")
	for _, each := range container.Env {
		value := each.Value
		if each.ValueFrom != nil {
			if value, err = p.field(each.ValueFrom.FieldRef.FieldPath); err != nil {
				return nil, fmt.Errorf("variable %s: %w", each.Name, err)
			}
		}
		became.Env = append(became.Env, each.Name+"="+value)
	}
	text, err := json.Marshal(became)
	if err != nil {
		return nil, err
	}
	command := exec.Command("/proc/self/exe", enterCommand)
	command.Stdin = strings.NewReader(string(text))
	return command, nil
}

// makeRoot makes the Pod's root once: the program, and the volumes where they are mounted. It is
// read-only if the container says so.
func (p *pod) makeRoot(program string) error {
	root := p.root()
	if _, err := os.Stat(root); err == nil {
		return nil
	}
	container := p.spec.Containers[0]
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := copyFile(program, filepath.Join(root, filepath.Base(program))); err != nil {
		return err
	}
	for i := range container.VolumeMounts {
		if err := os.MkdirAll(p.mountPoint(i), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if container.SecurityContext.ReadOnlyRootFilesystem {
		if err := unix.Mount("", root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return err
		}
	}
	for i, mount := range container.VolumeMounts {
		if err := unix.Mount(p.volumeDir(mount.Name), p.mountPoint(i), "", unix.MS_BIND, ""); err != nil {
			return err
		}
		// What a kubelet projects is never written by the container.
		if err := unix.Mount("", p.mountPoint(i), "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		return err
	}
	return target.Close()
}

// enter makes this process the one that its standard input describes. It does not return.
func enter([]string) {
	runtime.LockOSThread()
	var p process
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		log.Fatal(err)
	}
	if err := p.become(); err != nil {
		log.Fatal(err)
	}
	err := unix.Exec(p.Argv[0], p.Argv, p.Env)
	log.Fatalf("%s: %v", p.Argv[0], err)
}

// become gives up all that the Pod's process is not to have.
func (p *process) become() error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	if err := unix.Dup2(int(null.Fd()), 0); err != nil {
		return err
	}
	if p.Netns != "" {
		netns, err := os.Open(p.Netns)
		if err != nil {
			return err
		}
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("network namespace: %w", err)
		}
	}
	if p.Root != "" {
		if err := unix.Chroot(p.Root); err != nil {
			return err
		}
	} else if err := p.mountInHost(); err != nil {
		return err
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// Without its capabilities in the bounding set, no program of the Pod has them.
	for capability := range unix.CAP_LAST_CAP + 1 {
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capability), 0, 0, 0)
	}
	if !p.Privileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	// All threads: see `syscall.Setuid`.
	if err := syscall.Setgroups(p.Groups); err != nil {
		return err
	}
	if err := syscall.Setgid(p.GID); err != nil {
		return err
	}
	if err := syscall.Setuid(p.UID); err != nil {
		return err
	}
	if p.Root == "" {
		path, err := lookPath(p.Argv[0], p.Env)
		if err != nil {
			return err
		}
		p.Argv[0] = path
	}
	return nil
}

// mountInHost puts the volumes where the container wants them, seen by this process alone.
func (p *process) mountInHost() error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return err
	}
	for target, source := range p.Mounts {
		// The folder of the node's files is outside /run, which is the namespace's own.
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, each := range env {
		if path, ok := strings.CutPrefix(each, "PATH="); ok {
			for _, dir := range filepath.SplitList(path) {
				if file := filepath.Join(dir, name); unix.Access(file, unix.X_OK) == nil {
					return file, nil
				}
			}
		}
	}
	return "", fmt.Errorf("there is no %s on the PATH", name)
}
