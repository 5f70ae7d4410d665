# shellcheck shell=bash
# A real Prometheus beside the chart, in a throwaway cluster with a real node.

# prometheus_sees CLUSTER NAMESPACE SERVICE: whether Prometheus finds every pod of the Service up, every alert loaded and data for
# every panel of the dashboards; says what it found.
prometheus_sees() {
  local -r cluster=$1 namespace=$2 service=$3
  local -a targets
  # Before the network is entered, which has no way out.
  "$root/hack/prometheus/build" >/dev/null
  read -ra targets < <("$root/hack/cluster/cluster" exec "$cluster" -- kubectl --namespace "$namespace" get endpointslices \
    --selector "kubernetes.io/service-name=$service" --output jsonpath='{range .items[*].endpoints[*]}{.addresses[0]}:8080 {end}{"\n"}')
  ((${#targets[@]} > 0)) || fail "asking Prometheus" "Service $namespace/$service has no pods" "kubectl -n $namespace get pods"
  "$root/hack/cluster/cluster" exec "$cluster" -- "$root/hack/prometheus/live" "${targets[@]}"
}
