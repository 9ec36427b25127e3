{{/* The Pod that `helm test` asks for. It is never stored, and would run under the restricted Pod Security Standard. */}}
{{- define "k8s-proxy-image-swapper.testedPod" -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "k8s-proxy-image-swapper.fullname" . }}-dry-run
  namespace: {{ .Values.test.namespace | default .Release.Namespace }}
spec:
  securityContext:
    runAsNonRoot: true
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: tested
      image: {{ .Values.test.podImage | quote }}
      securityContext:
        allowPrivilegeEscalation: false
        capabilities:
          drop:
            - ALL
{{- end }}

{{/* What its image becomes, where that is known without the program: none is changed, or below docker.io with the default
rewrites. */}}
{{- define "k8s-proxy-image-swapper.expectedImage" -}}
{{- $isDefault := and (kindIs "invalid" .Values.rewrites) (regexMatch `^docker\.io/[^/:@]+/[^:@]+[:@].+$` .Values.test.podImage) -}}
{{- if eq .Values.mode "observe" -}}
{{ .Values.test.podImage }}
{{- else if .Values.test.expectedImage -}}
{{ .Values.test.expectedImage }}
{{- else if $isDefault -}}
{{ .Values.proxyUrl | trimPrefix "https://" | trimSuffix "/" }}/{{ .Values.test.podImage | trimPrefix "docker.io/" }}
{{- end }}
{{- end }}
