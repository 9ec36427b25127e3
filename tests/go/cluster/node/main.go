// Command node stands in for the kubelet of a test cluster. It binds the Pods whose images it knows to
// its node, and runs each as a process in a network namespace, with its own root, as its stored
// specification says: arguments, environment, ports, volumes, probes, security context, grace period.
// A specification with a field that it does not implement is refused, not half obeyed.
//
// The variable KUBECONFIG tells how to reach the API server.
//
// Pods with an image that it does not know stay unbound, so a test may create any.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
)

// The node's name.
const nodeName = "node"

// host, in place of a program, is the machine's own root: its shell and commands.
const host = "HOST"

// node is the machine that Pods are bound to, and what runs on it.
type node struct {
	client   kubernetes.Interface
	dir      string
	ip, ip6  string
	bridge   string
	path     string
	programs map[string]string

	mu      sync.Mutex
	bound   map[types.UID]bool
	running map[types.UID]*pod
	address int
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == enterCommand {
		enter(os.Args[2:])
	}
	n := &node{
		programs: map[string]string{},
		bound:    map[types.UID]bool{},
		running:  map[types.UID]*pod{},
		address:  1,
	}
	flag.StringVar(&n.dir, "dir", "", "folder for the Pods' files")
	flag.StringVar(&n.ip, "ip", "", "the node's address, and the Pods' gateway")
	flag.StringVar(&n.ip6, "ip6", "", "the same of IPv6")
	flag.StringVar(&n.bridge, "bridge", "", "the bridge that the Pods are plugged into")
	flag.StringVar(&n.path, "path", "", "folder put in front of the PATH of the commands of HOST")
	flag.Func("image", "NAME=PROGRAM: what to run for Pods of that image", func(value string) error {
		name, program, _ := strings.Cut(value, "=")
		n.programs[name] = program
		return nil
	})
	flag.Parse()
	log.SetFlags(log.Ltime | log.Lmicroseconds)

	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		log.Fatal(err)
	}
	config.QPS, config.Burst = 1000, 1000
	n.client = kubernetes.NewForConfigOrDie(config)
	if err := n.register(context.Background()); err != nil {
		log.Fatal(err)
	}
	go n.serveLogs()
	n.watch(context.Background())
}

// register makes the Node, ready.
func (n *node) register(ctx context.Context) error {
	object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name:   nodeName,
		Labels: map[string]string{"kubernetes.io/hostname": nodeName, "kubernetes.io/os": "linux"},
	}}
	if _, err := n.client.CoreV1().Nodes().Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return err
	}
	// Controllers write to it too, as soon as it is there.
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		object, err := n.client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		object.Status.Conditions = []corev1.NodeCondition{{
			Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Started",
			LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
		}}
		object.Status.DaemonEndpoints.KubeletEndpoint.Port = logsPort
		object.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.ip}}
		_, err = n.client.CoreV1().Nodes().UpdateStatus(ctx, object, metav1.UpdateOptions{})
		return err
	})
}

// watch follows all Pods, for ever.
func (n *node) watch(ctx context.Context) {
	factory := informers.NewSharedInformerFactory(n.client, 0)
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { n.see(ctx, object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { n.see(ctx, object.(*corev1.Pod)) },
		DeleteFunc: func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			n.gone(object.(*corev1.Pod))
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
}

// see binds, starts or stops a Pod, as its newest form demands.
func (n *node) see(ctx context.Context, object *corev1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch running := n.running[object.UID]; {
	case running != nil:
		if object.DeletionTimestamp != nil {
			running.terminate(*object.DeletionGracePeriodSeconds)
		}
	case object.Status.Phase == corev1.PodSucceeded || object.Status.Phase == corev1.PodFailed:
	case object.Spec.NodeName == nodeName && object.DeletionTimestamp != nil:
		go n.remove(ctx, object)
	case object.Spec.NodeName == nodeName:
		n.address++
		p := newPod(n, object, n.address)
		n.running[object.UID] = p
		go p.run(ctx)
	case object.Spec.NodeName == "" && object.DeletionTimestamp == nil && n.knows(object) && !n.bound[object.UID]:
		n.bound[object.UID] = true
		go n.bind(ctx, object)
	}
}

// gone ends a Pod that was deleted without a grace period.
func (n *node) gone(object *corev1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if running := n.running[object.UID]; running != nil {
		running.terminate(0)
	}
}

// knows tells whether there is a program for each of a Pod's images.
func (n *node) knows(object *corev1.Pod) bool {
	for _, container := range object.Spec.Containers {
		if n.program(container.Image) == "" {
			return false
		}
	}
	return true
}

// program is what to run for an image: known by its name, whatever the tag or digest.
func (n *node) program(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndex(image, ":"); colon > strings.LastIndex(image, "/") {
		image = image[:colon]
	}
	return n.programs[image]
}

func (n *node) bind(ctx context.Context, object *corev1.Pod) {
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: object.Name, UID: object.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName},
	}
	if err := n.client.CoreV1().Pods(object.Namespace).Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
		log.Printf("%s/%s: binding: %v", object.Namespace, object.Name, err)
	}
}

// remove tells the API server that nothing of a Pod is left.
func (n *node) remove(ctx context.Context, object *corev1.Pod) {
	now := int64(0)
	_ = n.client.CoreV1().Pods(object.Namespace).Delete(ctx, object.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now,
		Preconditions:      &metav1.Preconditions{UID: &object.UID},
	})
}

func (n *node) podDir(object *corev1.Pod) string {
	return filepath.Join(n.dir, "pods", fmt.Sprintf("%s_%s_%s", object.Namespace, object.Name, object.UID))
}

// logFile is where the container of a Pod writes, and stays after the Pod.
func (n *node) logFile(namespace, name string) string {
	dir := filepath.Join(n.dir, "pod-logs")
	_ = os.MkdirAll(dir, 0o755)
	return filepath.Join(dir, fmt.Sprintf("%s_%s.log", namespace, name))
}
