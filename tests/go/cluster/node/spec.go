package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// The fields of a Pod's specification that this node obeys. A field that is not here is refused.
type spec struct {
	Containers                    []container          `json:"containers"`
	Volumes                       []volume             `json:"volumes"`
	TerminationGracePeriodSeconds int64                `json:"terminationGracePeriodSeconds"`
	RestartPolicy                 corev1.RestartPolicy `json:"restartPolicy"`
	HostNetwork                   bool                 `json:"hostNetwork"`
	ServiceAccountName            string               `json:"serviceAccountName"`
	SecurityContext               securityContext      `json:"securityContext"`
	Ignored
}

// What has nothing to act on here, with one node, without a resolver and without limits.
type Ignored struct {
	NodeName                     any `json:"nodeName"`
	NodeSelector                 any `json:"nodeSelector"`
	SchedulerName                any `json:"schedulerName"`
	Affinity                     any `json:"affinity"`
	TopologySpreadConstraints    any `json:"topologySpreadConstraints"`
	Tolerations                  any `json:"tolerations"`
	PriorityClassName            any `json:"priorityClassName"`
	Priority                     any `json:"priority"`
	PreemptionPolicy             any `json:"preemptionPolicy"`
	DNSPolicy                    any `json:"dnsPolicy"`
	ServiceAccount               any `json:"serviceAccount"`
	AutomountServiceAccountToken any `json:"automountServiceAccountToken"`
	EnableServiceLinks           any `json:"enableServiceLinks"`
	ImagePullSecrets             any `json:"imagePullSecrets"`
}

type container struct {
	Name            string                 `json:"name"`
	Image           string                 `json:"image"`
	Command         []string               `json:"command"`
	Args            []string               `json:"args"`
	Env             []env                  `json:"env"`
	Ports           []corev1.ContainerPort `json:"ports"`
	VolumeMounts    []volumeMount          `json:"volumeMounts"`
	LivenessProbe   *probe                 `json:"livenessProbe"`
	ReadinessProbe  *probe                 `json:"readinessProbe"`
	StartupProbe    *probe                 `json:"startupProbe"`
	SecurityContext securityContext        `json:"securityContext"`
	// Of no effect here: nothing is pulled, limited, or read after the end.
	ImagePullPolicy          any `json:"imagePullPolicy"`
	Resources                any `json:"resources"`
	TerminationMessagePath   any `json:"terminationMessagePath"`
	TerminationMessagePolicy any `json:"terminationMessagePolicy"`
}

type env struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	ValueFrom *struct {
		FieldRef struct {
			APIVersion string `json:"apiVersion"`
			FieldPath  string `json:"fieldPath"`
		} `json:"fieldRef"`
	} `json:"valueFrom"`
}

type volumeMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly"`
}

type volume struct {
	Name      string           `json:"name"`
	Secret    *secretVolume    `json:"secret"`
	ConfigMap *configMapVolume `json:"configMap"`
	Projected *projectedVolume `json:"projected"`
}

type secretVolume struct {
	SecretName  string             `json:"secretName"`
	DefaultMode int32              `json:"defaultMode"`
	Items       []corev1.KeyToPath `json:"items"`
}

type configMapVolume struct {
	Name        string             `json:"name"`
	DefaultMode int32              `json:"defaultMode"`
	Items       []corev1.KeyToPath `json:"items"`
}

// What the API server adds for a ServiceAccount's token.
type projectedVolume struct {
	DefaultMode int32 `json:"defaultMode"`
	Sources     []struct {
		ServiceAccountToken *corev1.ServiceAccountTokenProjection `json:"serviceAccountToken"`
		ConfigMap           *configMapVolume                      `json:"configMap"`
		DownwardAPI         *struct {
			Items []struct {
				Path     string `json:"path"`
				FieldRef struct {
					APIVersion string `json:"apiVersion"`
					FieldPath  string `json:"fieldPath"`
				} `json:"fieldRef"`
			} `json:"items"`
		} `json:"downwardAPI"`
	} `json:"sources"`
}

type probe struct {
	HTTPGet struct {
		Path   string `json:"path"`
		Port   any    `json:"port"`
		Scheme string `json:"scheme"`
	} `json:"httpGet"`
	InitialDelaySeconds int `json:"initialDelaySeconds"`
	PeriodSeconds       int `json:"periodSeconds"`
	TimeoutSeconds      int `json:"timeoutSeconds"`
	SuccessThreshold    int `json:"successThreshold"`
	FailureThreshold    int `json:"failureThreshold"`
}

type securityContext struct {
	RunAsUser                *int64                 `json:"runAsUser"`
	RunAsGroup               *int64                 `json:"runAsGroup"`
	RunAsNonRoot             bool                   `json:"runAsNonRoot"`
	FSGroup                  *int64                 `json:"fsGroup"`
	AllowPrivilegeEscalation *bool                  `json:"allowPrivilegeEscalation"`
	ReadOnlyRootFilesystem   bool                   `json:"readOnlyRootFilesystem"`
	Capabilities             *corev1.Capabilities   `json:"capabilities"`
	SeccompProfile           *corev1.SeccompProfile `json:"seccompProfile"`
}

// readSpec reads a Pod's specification, and names the first field that is not obeyed.
func readSpec(object *corev1.Pod) (*spec, error) {
	text, err := json.Marshal(object.Spec)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	read := &spec{}
	if err := decoder.Decode(read); err != nil {
		return nil, fmt.Errorf("this node does not implement all of the specification: %w", err)
	}
	if count := len(read.Containers); count != 1 {
		return nil, fmt.Errorf("this node runs Pods of one container, not of %d", count)
	}
	own := read.Containers[0].SecurityContext
	for _, context := range []securityContext{read.SecurityContext, own} {
		if p := context.SeccompProfile; p != nil && p.Type != corev1.SeccompProfileTypeRuntimeDefault {
			return nil, fmt.Errorf("this node does not implement the seccomp profile %s", p.Type)
		}
		if c := context.Capabilities; c != nil && len(c.Add) > 0 {
			return nil, fmt.Errorf("this node does not add capabilities: %v", c.Add)
		}
	}
	if own.FSGroup != nil {
		return nil, fmt.Errorf("a container has no fsGroup")
	}
	return read, nil
}

// user is whom the container's process runs as: the container's own settings win.
func (s *spec) user() (uid, gid int64, err error) {
	// The image's own.
	uid, gid = 65532, 65532
	for _, context := range []securityContext{s.SecurityContext, s.Containers[0].SecurityContext} {
		if context.RunAsUser != nil {
			uid = *context.RunAsUser
		}
		if context.RunAsGroup != nil {
			gid = *context.RunAsGroup
		}
	}
	nonRoot := s.SecurityContext.RunAsNonRoot || s.Containers[0].SecurityContext.RunAsNonRoot
	if nonRoot && uid == 0 {
		return 0, 0, fmt.Errorf("runAsNonRoot is set, and the user is 0")
	}
	return uid, gid, nil
}
