{{/* A value of an environment variable. A large number in YAML is a float, which would print as 8.388608e+06. */}}
{{- define "k8s-proxy-image-swapper.envValue" -}}
{{ kindIs "float64" . | ternary (int64 .) . | toString | quote }}
{{- end }}

{{/* Where the client CA is mounted. */}}
{{- define "k8s-proxy-image-swapper.clientCADir" -}}
/etc/webhook/client-ca
{{- end }}

{{/* The settings of the program. What is unset here is not set there, and what is empty is. */}}
{{- define "k8s-proxy-image-swapper.env" -}}
{{- with .Values -}}
- name: PROXY_URL
  value: {{ quote .proxyUrl }}
{{- if not (kindIs "invalid" .rewrites) }}
- name: REWRITES
  value: {{ join "," .rewrites | quote }}
{{- end }}
{{- if not (kindIs "invalid" .ignoreImages) }}
- name: IGNORE_IMAGES
  value: {{ join "," .ignoreImages | quote }}
{{- end }}
- name: MODE
  value: {{ .mode }}
- name: LISTEN_ADDR
  value: "[::]:{{ .ports.webhook }}"
- name: ADMIN_ADDR
  value: "[::]:{{ .ports.admin }}"
- name: TLS_CERT_FILE
  value: /etc/webhook/tls/tls.crt
- name: TLS_KEY_FILE
  value: /etc/webhook/tls/tls.key
{{- if or .clientCA.secretName .clientCA.configMapName }}
- name: TLS_CLIENT_CA_FILE
  value: {{ include "k8s-proxy-image-swapper.clientCADir" $ }}/{{ .clientCA.key }}
{{- end }}
- name: DRAIN_DELAY
  value: {{ .drain.delaySeconds }}s
- name: DRAIN_TIMEOUT
  value: {{ .drain.timeoutSeconds }}s
{{- range $name, $value := .settings }}
{{- if not (kindIs "invalid" $value) }}
- name: {{ $name }}
  value: {{ include "k8s-proxy-image-swapper.envValue" $value }}
{{- end }}
{{- end }}
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}
