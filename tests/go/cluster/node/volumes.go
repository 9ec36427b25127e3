package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authentication "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/volume/util"
)

// How soon a changed Secret is in the Pods. A kubelet takes up to two minutes.
const refresh = time.Second

// mountVolumes writes all of a Pod's volumes, and keeps them up to date while it lives. It waits for
// Secrets that are not there yet, and returns false if the Pod is deleted meanwhile.
func (p *pod) mountVolumes(ctx context.Context) bool {
	for _, each := range p.spec.Volumes {
		for told := ""; ; {
			err := p.writeVolume(ctx, each)
			if err == nil {
				break
			}
			if why := err.Error(); why != told {
				p.say("volume %s: %v", each.Name, err)
				told = why
			}
			select {
			case <-time.After(refresh / 4):
			case <-p.stop:
				return false
			}
		}
	}
	go func() {
		for {
			select {
			case <-time.After(refresh):
			case <-p.stop:
				return
			}
			for _, each := range p.spec.Volumes {
				// A token lives longer than any test.
				if each.Projected == nil {
					if err := p.writeVolume(ctx, each); err != nil {
						p.say("refreshing volume %s: %v", each.Name, err)
					}
				}
			}
		}
	}()
	return true
}

func (p *pod) volumeDir(name string) string {
	return filepath.Join(p.dir, "volumes", name)
}

// writeVolume brings a volume's folder up to date, by the kubelet's own code: new files in a folder of
// their own, and one renaming of the symbolic link `..data`.
func (p *pod) writeVolume(ctx context.Context, each volume) error {
	payload, err := p.payload(ctx, each)
	if err != nil {
		return err
	}
	dir := p.volumeDir(each.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	writer, err := util.NewAtomicWriter(dir, p.object.Name)
	if err != nil {
		return err
	}
	return writer.Write(payload, nil)
}

func (p *pod) payload(ctx context.Context, each volume) (map[string]util.FileProjection, error) {
	core := p.node.client.CoreV1()
	files := map[string]util.FileProjection{}
	switch {
	case each.Secret != nil:
		secret, err := core.Secrets(p.object.Namespace).Get(ctx, each.Secret.SecretName, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return files, project(files, secret.Data, each.Secret.Items, each.Secret.DefaultMode)
	case each.ConfigMap != nil:
		return files, p.projectConfigMap(ctx, files, each.ConfigMap, each.ConfigMap.DefaultMode)
	case each.Projected != nil:
		for _, source := range each.Projected.Sources {
			if token := source.ServiceAccountToken; token != nil {
				request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{
					ExpirationSeconds: token.ExpirationSeconds,
					BoundObjectRef: &authentication.BoundObjectReference{
						APIVersion: "v1", Kind: "Pod", Name: p.object.Name, UID: p.object.UID,
					},
				}}
				account := p.spec.ServiceAccountName
				got, err := core.ServiceAccounts(p.object.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
				if err != nil {
					return nil, err
				}
				files[token.Path] = util.FileProjection{Data: []byte(got.Status.Token), Mode: 0o644}
			}
			if source.ConfigMap != nil {
				if err := p.projectConfigMap(ctx, files, source.ConfigMap, each.Projected.DefaultMode); err != nil {
					return nil, err
				}
			}
			if source.DownwardAPI != nil {
				for _, item := range source.DownwardAPI.Items {
					value, err := p.field(item.FieldRef.FieldPath)
					if err != nil {
						return nil, err
					}
					files[item.Path] = util.FileProjection{Data: []byte(value), Mode: each.Projected.DefaultMode}
				}
			}
		}
		return files, nil
	}
	return nil, fmt.Errorf("this node knows volumes of a Secret, a ConfigMap or a ServiceAccount's token")
}

func (p *pod) projectConfigMap(
	ctx context.Context, files map[string]util.FileProjection, from *configMapVolume, mode int32,
) error {
	configMap, err := p.node.client.CoreV1().ConfigMaps(p.object.Namespace).Get(ctx, from.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	data := map[string][]byte{}
	for key, value := range configMap.Data {
		data[key] = []byte(value)
	}
	return project(files, data, from.Items, mode)
}

// project adds files: all of the data, or the items alone, at their paths.
func project(files map[string]util.FileProjection, data map[string][]byte, items []corev1.KeyToPath, mode int32) error {
	if len(items) == 0 {
		for key, value := range data {
			files[key] = util.FileProjection{Data: bytes.Clone(value), Mode: mode}
		}
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok {
			return fmt.Errorf("there is no key %s", item.Key)
		}
		files[item.Path] = util.FileProjection{Data: bytes.Clone(value), Mode: mode}
	}
	return nil
}

// field is what the downward API gives for a path.
func (p *pod) field(path string) (string, error) {
	switch path {
	case "metadata.name":
		return p.object.Name, nil
	case "metadata.namespace":
		return p.object.Namespace, nil
	case "status.podIP":
		return p.ip, nil
	case "spec.nodeName":
		return nodeName, nil
	}
	return "", fmt.Errorf("this node does not know the field %s", path)
}
