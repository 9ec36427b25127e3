{{/*
Mode `helm`: the Secret's data, as YAML. From the Secret in the cluster if it is whole, else new. Made once per rendering, so
that the Secret and the caBundle agree.
*/}}
{{- define "k8s-proxy-image-swapper.helmCertificate" -}}
{{- if not (hasKey .Values "renderedCertificate") -}}
{{- $name := include "k8s-proxy-image-swapper.tlsSecretName" . -}}
{{- $kept := (lookup "v1" "Secret" .Release.Namespace $name).data | default dict -}}
{{- if not (and (get $kept "ca.crt") (get $kept "tls.crt") (get $kept "tls.key")) -}}
{{- $dns := include "k8s-proxy-image-swapper.dnsName" . -}}
{{- $days := int .Values.certificates.validityDays -}}
{{- /* The CA's key is not kept: it signs this one certificate. */}}
{{- $ca := genCAWithKey (printf "%s-ca" (include "k8s-proxy-image-swapper.fullname" .)) $days (genPrivateKey "ecdsa") -}}
{{- $leaf := genSignedCertWithKey "" nil (list $dns (printf "%s.cluster.local" $dns)) $days $ca (genPrivateKey "ecdsa") -}}
{{- $kept = dict "ca.crt" (b64enc $ca.Cert) "tls.crt" (b64enc $leaf.Cert) "tls.key" (b64enc $leaf.Key) -}}
{{- end -}}
{{- $_ := set .Values "renderedCertificate" (pick $kept "ca.crt" "tls.crt" "tls.key") -}}
{{- end -}}
{{ toYaml .Values.renderedCertificate }}
{{- end }}
