{{/* Names, labels and addresses: what every template asks for. */}}

{{- define "trunkline.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | regexFind "^.*[^.-]" -}}
{{- end -}}

{{/* What objects begin with. 40 characters leave room for the longest suffix and for the hashes of pods. */}}
{{- define "trunkline.fullname" -}}
{{- $name := include "trunkline.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | regexFind "^.*[^.-]" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | regexFind "^.*[^.-]" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | regexFind "^.*[^.-]" -}}
{{- end -}}
{{- end -}}

{{- define "trunkline.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* Of what is of the cluster: a release of the same name in another namespace must not meet it. */}}
{{- define "trunkline.clusterName" -}}
{{- printf "%s:%s" (include "trunkline.namespace" .) (include "trunkline.fullname" .) -}}
{{- end -}}

{{- define "trunkline.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels of an object. Of: root, component (may be empty), labels (more of them, which win over commonLabels). Merged,
since a key that stands twice in a mapping is an error to many readers of YAML. */}}
{{- define "trunkline.labels" -}}
{{- $fixed := dict "helm.sh/chart" (include "trunkline.chart" .root) "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- toYaml (merge $fixed (include "trunkline.podLabels" . | fromYaml)) -}}
{{- end -}}

{{/* Labels of a pod: without the chart's version, which would roll pods for nothing. Of: as trunkline.labels. */}}
{{- define "trunkline.podLabels" -}}
{{- $labels := dict "app.kubernetes.io/version" .root.Chart.AppVersion "app.kubernetes.io/part-of" "trunkline" -}}
{{- $selector := include "trunkline.selector" . | fromYaml -}}
{{- toYaml (mergeOverwrite $labels (default dict .root.Values.commonLabels) (default dict .labels) $selector) -}}
{{- end -}}

{{- define "trunkline.selector" -}}
{{- $labels := dict "app.kubernetes.io/name" (include "trunkline.name" .root) -}}
{{- $_ := set $labels "app.kubernetes.io/instance" .root.Release.Name -}}
{{- with .component }}{{- $_ := set $labels "app.kubernetes.io/component" . }}{{- end -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Of: root, component. */}}
{{- define "trunkline.serviceAccountName" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- default (printf "%s-%s" (include "trunkline.fullname" .root) .component) $account.name -}}
{{- end -}}

{{/* Of: root, image (of a component). A digest wins over a tag. */}}
{{- define "trunkline.image" -}}
{{- $values := .root.Values -}}
{{- $registry := coalesce $values.global.imageRegistry .image.registry $values.image.registry -}}
{{- $reference := printf ":%s" (coalesce .image.tag $values.image.tag .root.Chart.AppVersion) -}}
{{- if .image.digest -}}{{- $reference = printf "@%s" .image.digest -}}{{- end -}}
{{- printf "%s/%s%s" $registry .image.repository $reference -}}
{{- end -}}

{{/* The Secret that the operators serve with, where it is not they who make the certificate. */}}
{{- define "trunkline.tlsSecretName" -}}
{{- if eq .Values.tls.mode "existingSecret" -}}
{{- .Values.tls.existingSecret -}}
{{- else -}}
{{- printf "%s-operator-cert" (include "trunkline.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* Where gateways find the operators. */}}
{{- define "trunkline.operatorHost" -}}
{{- printf "%s-operator.%s.svc" (include "trunkline.fullname" .) (include "trunkline.namespace" .) -}}
{{- end -}}

{{/* A duration such as 1m30s, in whole seconds, rounded up. */}}
{{- define "trunkline.seconds" -}}
{{- $units := dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1 -}}
{{- $milliseconds := 0 -}}
{{- range regexFindAll "[0-9]+(h|ms|m|s)" . -1 -}}
{{- $number := regexFind "^[0-9]+" . -}}
{{- $milliseconds = add $milliseconds (mul (int64 $number) (get $units (trimPrefix $number .))) -}}
{{- end -}}
{{- div (add $milliseconds 999) 1000 -}}
{{- end -}}

{{/* A number of the values as it was written: numbers of a file are floats, which a template prints as 6.7e+07. */}}
{{- define "trunkline.number" -}}
{{- kindIs "string" . | ternary . (toJson .) -}}
{{- end -}}

{{/* Whether there are monitors: the text true, or nothing. */}}
{{- define "trunkline.monitored" -}}
{{- $wanted := toString .Values.monitoring.enabled -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}
true
{{- end -}}
{{- end -}}

{{/* The Secret and key with a client's key, for the test: name, or nothing. */}}
{{- define "trunkline.testKeySecret" -}}
{{- $quickstart := .Values.quickstart -}}
{{- if .Values.test.keySecret.name -}}
{{- toJson .Values.test.keySecret -}}
{{- else if $quickstart.enabled -}}
{{- toJson $quickstart.keySecret -}}
{{- end -}}
{{- end -}}
