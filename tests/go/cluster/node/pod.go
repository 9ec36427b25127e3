package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pod is one that runs here, from its binding to its end.
type pod struct {
	node    *node
	object  *corev1.Pod
	spec    *spec
	dir     string
	netns   string
	ip, ip6 string
	started metav1.Time

	mu       sync.Mutex
	ready    bool
	restarts int32
	grace    *int64
	stop     chan struct{}
}

// newPod is a Pod with the number-th address of the node's network.
func newPod(n *node, object *corev1.Pod, number int) *pod {
	return &pod{
		node:    n,
		object:  object,
		dir:     n.podDir(object),
		netns:   fmt.Sprintf("pod%d", number),
		ip:      fmt.Sprintf("10.244.%d.%d", number/250, number%250+1),
		ip6:     fmt.Sprintf("fd00:10:244::%x", number+1),
		started: metav1.Now(),
		stop:    make(chan struct{}),
	}
}

// terminate begins the end: SIGTERM, and SIGKILL after a grace period in seconds. Asked again with a
// shorter one, that holds. As with a kubelet it is a second at least, even of a deletion by force.
func (p *pod) terminate(grace int64) {
	grace = max(grace, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.grace == nil {
		close(p.stop)
	}
	if p.grace == nil || grace < *p.grace {
		p.grace = &grace
	}
}

func (p *pod) say(format string, values ...any) {
	log.Printf("%s/%s: %s", p.object.Namespace, p.object.Name, fmt.Sprintf(format, values...))
}

// run does all of a Pod's life.
func (p *pod) run(ctx context.Context) {
	phase, err := p.live(ctx)
	if err != nil {
		p.say("%v", err)
		p.report(ctx, corev1.PodFailed, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
			Reason: "Unsupported", Message: err.Error(),
		}}, err.Error())
	}
	if phase == "" {
		// Ended by deletion, or refused: the object goes with the next word from the API server.
		<-p.stop
	}
	if phase == corev1.PodSucceeded || phase == corev1.PodFailed {
		<-p.stop
	}
	p.clean()
	p.node.remove(ctx, p.object)
	p.node.mu.Lock()
	delete(p.node.running, p.object.UID)
	p.node.mu.Unlock()
}

// live sets a Pod up and runs its container until it has ended for good, which the phase tells, or the
// Pod is deleted.
func (p *pod) live(ctx context.Context) (corev1.PodPhase, error) {
	var err error
	if p.spec, err = readSpec(p.object); err != nil {
		return "", err
	}
	if _, _, err = p.spec.user(); err != nil {
		return "", err
	}
	if err := p.connect(); err != nil {
		return "", err
	}
	if !p.mountVolumes(ctx) {
		return "", nil
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		exit, err := p.runContainer(ctx)
		if err != nil {
			return "", err
		}
		policy := p.spec.RestartPolicy
		terminated := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: int32(exit), Reason: reason(exit), FinishedAt: metav1.Now(), StartedAt: p.started,
		}}
		switch {
		case p.stopping():
			return "", nil
		case policy == corev1.RestartPolicyNever && exit == 0, policy == corev1.RestartPolicyOnFailure && exit == 0:
			p.report(ctx, corev1.PodSucceeded, terminated, "")
			return corev1.PodSucceeded, nil
		case policy == corev1.RestartPolicyNever:
			p.report(ctx, corev1.PodFailed, terminated, "")
			return corev1.PodFailed, nil
		}
		p.mu.Lock()
		p.restarts++
		p.mu.Unlock()
		p.say("restarting the container, which ended with %d", exit)
		p.report(ctx, corev1.PodRunning, terminated, "")
		select {
		case <-time.After(pause):
		case <-p.stop:
			return "", nil
		}
	}
}

func reason(exit int) string {
	if exit == 0 {
		return "Completed"
	}
	return "Error"
}

func (p *pod) stopping() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// connect makes the Pod's network namespace and plugs it into the node's bridge.
func (p *pod) connect() error {
	if p.spec.HostNetwork {
		p.netns, p.ip, p.ip6 = "", p.node.ip, p.node.ip6
		return nil
	}
	for _, line := range []string{
		"netns add NS",
		"link add vNS type veth peer name eth0 netns NS",
		"link set vNS master " + p.node.bridge + " up",
		"-n NS link set lo up",
		"-n NS address add " + p.ip + "/16 dev eth0",
		"-n NS address add " + p.ip6 + "/64 dev eth0 nodad",
		"-n NS link set eth0 up",
		"-n NS route add default via " + p.node.ip,
	} {
		line = strings.ReplaceAll(line, "NS", p.netns)
		if output, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w\n%s", line, err, output)
		}
	}
	return nil
}

// clean takes down what a Pod had of the node.
func (p *pod) clean() {
	if p.spec == nil {
		return
	}
	for i := range p.spec.Containers[0].VolumeMounts {
		_ = syscall.Unmount(p.mountPoint(i), syscall.MNT_DETACH)
	}
	_ = syscall.Unmount(p.root(), syscall.MNT_DETACH)
	_ = os.RemoveAll(p.dir)
	if p.netns != "" {
		_ = exec.Command("ip", "netns", "delete", p.netns).Run()
	}
}

// runContainer runs the container once, with its probes, and returns its exit status.
func (p *pod) runContainer(ctx context.Context) (int, error) {
	command, err := p.command()
	if err != nil {
		return 0, err
	}
	logs, err := os.OpenFile(p.node.logFile(p.object.Namespace, p.object.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer logs.Close()
	command.Stdout, command.Stderr = logs, logs
	p.started = metav1.Now()
	if err := command.Start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()

	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: p.started}}
	unhealthy := make(chan string, 1)
	probes := p.spec.Containers[0]
	p.setReady(probes.ReadinessProbe == nil && probes.StartupProbe == nil)
	p.report(ctx, corev1.PodRunning, running, "")
	go p.probe(probing, unhealthy, func(ready bool) {
		if p.setReady(ready) && !p.stopping() {
			p.report(ctx, corev1.PodRunning, running, "")
		}
	})

	select {
	case <-ended:
	case why := <-unhealthy:
		p.say("killing the container: %s", why)
		p.kill(command, ended, func() int64 { return p.spec.TerminationGracePeriodSeconds })
	case <-p.stop:
		// Readiness goes on being asked for, as a kubelet does, but nobody is told.
		p.kill(command, ended, func() int64 {
			p.mu.Lock()
			defer p.mu.Unlock()
			return *p.grace
		})
	}
	p.setReady(false)
	return command.ProcessState.ExitCode(), nil
}

// kill sends SIGTERM, and SIGKILL once the grace period, in seconds, is over.
func (p *pod) kill(command *exec.Cmd, ended <-chan struct{}, grace func() int64) {
	asked := time.Now()
	_ = command.Process.Signal(syscall.SIGTERM)
	for {
		select {
		case <-ended:
			return
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(asked) >= time.Duration(grace())*time.Second {
			p.say("killed after its grace period")
			_ = command.Process.Kill()
			<-ended
			return
		}
	}
}

// setReady tells whether this changed anything.
func (p *pod) setReady(ready bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := p.ready != ready
	p.ready = ready
	return changed
}

// report writes the Pod's status.
func (p *pod) report(ctx context.Context, phase corev1.PodPhase, state corev1.ContainerState, message string) {
	for {
		object, err := p.node.client.CoreV1().Pods(p.object.Namespace).Get(ctx, p.object.Name, metav1.GetOptions{})
		if err != nil || object.UID != p.object.UID {
			return
		}
		p.fill(&object.Status, phase, state, message)
		_, err = p.node.client.CoreV1().Pods(p.object.Namespace).UpdateStatus(ctx, object, metav1.UpdateOptions{})
		if !apierrors.IsConflict(err) {
			if err != nil && !apierrors.IsNotFound(err) {
				p.say("reporting: %v", err)
			}
			return
		}
	}
}

func (p *pod) fill(status *corev1.PodStatus, phase corev1.PodPhase, state corev1.ContainerState, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	status.Phase = phase
	status.Message = message
	status.StartTime = &p.started
	status.HostIP = p.node.ip
	status.PodIP = p.ip
	status.PodIPs = []corev1.PodIP{{IP: p.ip}, {IP: p.ip6}}
	for _, kind := range []corev1.PodConditionType{
		corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady,
	} {
		value := corev1.ConditionTrue
		if (kind == corev1.ContainersReady || kind == corev1.PodReady) && !p.ready {
			value = corev1.ConditionFalse
		}
		setCondition(status, kind, value)
	}
	started := state.Running != nil
	container := p.object.Spec.Containers[0]
	status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: container.Name, Image: container.Image, ImageID: container.Image,
		State: state, Ready: p.ready, Started: &started, RestartCount: p.restarts,
	}}
}

func setCondition(status *corev1.PodStatus, kind corev1.PodConditionType, value corev1.ConditionStatus) {
	for i := range status.Conditions {
		if condition := &status.Conditions[i]; condition.Type == kind {
			if condition.Status != value {
				condition.Status, condition.LastTransitionTime = value, metav1.Now()
			}
			return
		}
	}
	status.Conditions = append(status.Conditions, corev1.PodCondition{
		Type: kind, Status: value, LastTransitionTime: metav1.Now(),
	})
}
