{{/* Names and labels. */}}

{{- define "k8s-proxy-image-swapper.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Leaves room in the 63 characters of a Service's name for the longest suffix, "-selfsigned". */}}
{{- define "k8s-proxy-image-swapper.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{ .Values.fullnameOverride | default $full | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "k8s-proxy-image-swapper.serviceAccountName" -}}
{{- $default := .Values.serviceAccount.create | ternary (include "k8s-proxy-image-swapper.fullname" .) "default" -}}
{{ .Values.serviceAccount.name | default $default }}
{{- end }}

{{/*
The Secret with the certificate that the webhook serves. Not one name for both cert-manager's, which outlives the release, and
Helm's, which then could not be made.
*/}}
{{- define "k8s-proxy-image-swapper.tlsSecretName" -}}
{{- if eq .Values.certificates.mode "secret" -}}
{{ .Values.certificates.secretName }}
{{- else if eq .Values.certificates.mode "helm" -}}
{{ include "k8s-proxy-image-swapper.fullname" . }}-helm-tls
{{- else -}}
{{ include "k8s-proxy-image-swapper.fullname" . }}-tls
{{- end }}
{{- end }}

{{/* The name by which an API server calls the webhook. */}}
{{- define "k8s-proxy-image-swapper.dnsName" -}}
{{ include "k8s-proxy-image-swapper.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "k8s-proxy-image-swapper.selectorLabels" -}}
app.kubernetes.io/name: {{ include "k8s-proxy-image-swapper.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels and annotations of an object, from (dict "root" $ "labels" … "annotations" …), indented by two. */}}
{{- define "k8s-proxy-image-swapper.metadata" -}}
{{- $chart := printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- $own := include "k8s-proxy-image-swapper.selectorLabels" .root | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" $chart }}
  labels:
    {{- merge $own (.labels | default dict) (.root.Values.labels | default dict) | toYaml | nindent 4 }}
  {{- with merge dict (.annotations | default dict) (.root.Values.annotations | default dict) }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* [REGISTRY/]REPOSITORY[:TAG][@DIGEST] */}}
{{- define "k8s-proxy-image-swapper.image" -}}
{{- with .Values.image -}}
{{- $tag := .tag | default (empty .digest | ternary $.Chart.AppVersion "") -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{/* The namespaces that are never swapped, as YAML. */}}
{{- define "k8s-proxy-image-swapper.excludedNamespaces" -}}
{{- concat (list "kube-system") (.Values.excludedNamespaces | default list) | uniq | toYaml }}
{{- end }}

{{/* More than one replica, now or at the autoscaler's least. */}}
{{- define "k8s-proxy-image-swapper.isReplicated" -}}
{{- if gt (.Values.autoscaling.enabled | ternary .Values.autoscaling.minReplicas .Values.replicas | int) 1 }}true{{ end }}
{{- end }}

{{/* Annotations of the objects of `helm test`, which are gone when it has ended; a Pod that failed stays, for its log. */}}
{{- define "k8s-proxy-image-swapper.testAnnotations" -}}
helm.sh/hook: test
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
