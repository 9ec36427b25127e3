{{/* Fails with all that is wrong with the values and that their schema cannot say. */}}
{{- define "k8s-proxy-image-swapper.validate" -}}
{{- $wrong := list -}}
{{- with .Values -}}
{{- $proxy := .proxyUrl | trimPrefix "https://" -}}
{{- if not $proxy -}}
{{- $wrong = append $wrong "set proxyUrl to the registry to pull through: --set proxyUrl=registry.example.com" -}}
{{- else if or (contains "://" $proxy) (not (regexMatch `^(localhost|[^/\s]*[.:A-Z][^/\s]*)(/\S*)?$` $proxy)) -}}
{{- $wrong = printf "proxyUrl %q is no registry: give its host, with a `.` or a port, and perhaps a path" .proxyUrl | append $wrong -}}
{{- end -}}
{{- if not .image.repository -}}
{{- $image := printf "registry.example.com/k8s-proxy-image-swapper:%s" $.Chart.AppVersion -}}
{{- $wrong = append $wrong (join "\n      " (list
    "set image.repository to where you push the webhook's image, since none is published. From the source:"
    (printf "docker build --file Containerfile --tag %s . && docker push %s" $image $image)
    "and then: --set image.repository=registry.example.com/k8s-proxy-image-swapper")) -}}
{{- end -}}
{{- with .certificates -}}
{{- if and (eq .mode "secret") (not .secretName) -}}
{{- $wrong = append $wrong "set certificates.secretName: with certificates.mode=secret the certificate is in a Secret of yours" -}}
{{- end -}}
{{- if and (eq .mode "secret") (not .caBundle) -}}
{{- $wrong = append $wrong "set certificates.caBundle, with --set-file: with certificates.mode=secret nobody else tells the API server whom to trust" -}}
{{- end -}}
{{- if and .issuerRef (ne .mode "certManager") -}}
{{- $wrong = append $wrong "certificates.issuerRef needs certificates.mode=certManager" -}}
{{- end -}}
{{- end -}}
{{- if and .clientCA.secretName .clientCA.configMapName -}}
{{- $wrong = append $wrong "set clientCA.secretName or clientCA.configMapName, not both" -}}
{{- end -}}
{{- if le (int .drain.timeoutSeconds) (int .drain.delaySeconds) -}}
{{- $wrong = append $wrong "drain.timeoutSeconds must exceed drain.delaySeconds, which it includes" -}}
{{- end -}}
{{- if eq (int .ports.webhook) (int .ports.admin) -}}
{{- $wrong = append $wrong "ports.webhook and ports.admin must differ" -}}
{{- end -}}
{{- if lt (int .autoscaling.maxReplicas) (int .autoscaling.minReplicas) -}}
{{- $wrong = append $wrong "autoscaling.maxReplicas must not be below autoscaling.minReplicas" -}}
{{- end -}}
{{- if and .serviceMonitor.enabled .podMonitor.enabled -}}
{{- $wrong = append $wrong "enable serviceMonitor or podMonitor, not both: every figure would count twice" -}}
{{- end -}}
{{- end -}}
{{- with $wrong -}}
{{- printf "\n\nThese values cannot be installed:\n  - %s\n" (join "\n  - " .) | fail -}}
{{- end -}}
{{- end }}
