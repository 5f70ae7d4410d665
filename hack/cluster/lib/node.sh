# shellcheck shell=bash
# A real node: containerd, kubelet, kube-proxy and DNS, so that pods really run.

check_node_possible() {
  ((EUID == 0)) || fail "starting a real node" "it needs root, for namespaces and containers" "run it as root, or use '--mode kwok', which simulates pods"
  require "running a real node" containerd=containerd ctr=containerd runc=runc ip=iproute2 nft=nftables iptables=iptables \
    unshare=util-linux nsenter=util-linux "$(cni_plugins)/ptp=containernetworking-plugins"
}

# cni_plugins: where the distribution keeps them.
cni_plugins() {
  local folder
  for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
    [[ ! -x $folder/ptp ]] || break
  done
  [[ -x $folder/ptp ]] || folder=/usr/lib/cni
  echo "$folder"
}

start_node() {
  start_containerd
  local pause
  pause=$("$here/images" pause | tail -n 1)
  import_image "$dir" "$pause"
  start_kubelet
  start_kube_proxy
  start_dns
  make_volumes
  wait_until "$startup_seconds" "the node to be ready" containerd kubelet -- \
    kube wait node "$node_name" --for condition=Ready --timeout 1s
  wait_until "$startup_seconds" "DNS to answer" coredns -- "${inside[@]}" bash -c ": <>/dev/tcp/$cluster_dns/53"
}

# run_in_node NAME CMD...: nsenter stays in front of what it starts in another process namespace; the record has to name the
# program itself, since that is what signals are meant for.
run_in_node() {
  local -r name=$1
  shift
  run_process "$dir" "$name" "${in_node[@]}" "$@"
  record_child "$dir" "$name"
}

record_child() {
  local outer child n
  for ((n = 0; n < 100; n++)); do
    outer=$(process_pid "$1" "$2") || return 0
    # The list ends without a newline, which "read" takes for a failure.
    { read -r child _ <"/proc/$outer/task/$outer/children" || true; } 2>/dev/null
    if [[ -n ${child:-} ]]; then
      echo "$child $(start_time "$child")" >"$1/processes/$2.pid"
      return 0
    fi
    sleep 0.02
  done
}

start_containerd() {
  mkdir -p "$dir/containerd" "$dir/config/cni"
  local snapshotter=overlayfs
  # overlayfs doesn't lie on top of itself, which is what containers on such machines would have to do.
  [[ $(stat -fc %T "$dir") != overlayfs ]] || snapshotter=native
  # restrict_oom_score_adj: a process without CAP_SYS_RESOURCE may not lower it, and runc would fail trying.
  cat >"$dir/config/containerd.toml" <<TOML
version = 2
root = "$inner/containerd/root"
state = "$inner/containerd/state"
[grpc]
  address = "$inner/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$inner/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$pause_image"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$snapshotter"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$(cni_plugins)"
    conf_dir = "$inner/config/cni"
TOML
  # Each pod has a cable of its own to the node (ptp), so that all traffic between pods is routed: on a common bridge, answers
  # of a Service's pod would reach a neighbour without being translated back.
  cat >"$dir/config/cni/10-pods.conflist" <<JSON
{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    { "type": "ptp", "ipam": { "type": "host-local", "ranges": [[{ "subnet": "$pod_network" }]], "routes": [{ "dst": "0.0.0.0/0" }] } },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
JSON
  run_in_node containerd env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin containerd --config "$inner/config/containerd.toml"
  wait_until "$startup_seconds" "containerd to answer" containerd -- in_containerd version
}

# in_containerd ARGUMENT...: ctr, its command line client, in the image store that the kubelet uses.
in_containerd() { "${in_node[@]}" ctr --address "$inner/containerd.sock" --namespace k8s.io "$@"; }

# import_image DIR ARCHIVE: makes an image available to pods.
import_image() {
  local -a in_node inside
  local dir=$1
  enter_sandbox
  in_containerd images import --no-unpack=false - <"$2" >>"$dir/logs/images.log" 2>&1 ||
    fail "loading $2 into cluster '${dir##*/}'" "$(tail -n 1 "$dir/logs/images.log")" "see $dir/logs/images.log"
}

start_kubelet() {
  # No disk pressure: the disk is the machine's, and throwing out images that can't be pulled again helps nobody.
  cat >"$dir/config/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_address
authentication:
  anonymous: { enabled: false }
  webhook: { enabled: true }
  x509: { clientCAFile: $inner/pki/ca.crt }
authorization: { mode: Webhook }
containerRuntimeEndpoint: unix://$inner/containerd.sock
clusterDNS: [$cluster_dns]
clusterDomain: cluster.local
resolvConf: $inner/config/resolv.conf
cgroupDriver: cgroupfs
cgroupRoot: /$(cgroup_name "$dir")
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
evictionHard: { memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%" }
imageGCHighThresholdPercent: 100
imageMinimumGCAge: 24h
podLogsDir: $inner/pod-logs
volumePluginDir: $inner/kubelet/volume-plugins
serializeImagePulls: false
registerWithTaints: []
YAML
  echo "nameserver $cluster_dns" >"$dir/config/resolv.conf"
  mkdir -p "$dir/kubelet" "$dir/pod-logs"
  run_in_node kubelet env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$bin/kubelet" \
    --config "$inner/config/kubelet.yaml" --kubeconfig "$inner/kubeconfigs/kubelet" --root-dir "$inner/kubelet" \
    --cert-dir "$inner/kubelet/pki" --hostname-override "$node_name" --node-ip "$node_address"
}

start_kube_proxy() {
  cat >"$dir/config/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: { kubeconfig: $dir/kubeconfigs/kube-proxy }
hostnameOverride: $node_name
mode: nftables
clusterCIDR: $pod_network
conntrack: { maxPerCore: 0, min: 0 }
YAML
  run_process "$dir" kube-proxy "${inside[@]}" "$bin/kube-proxy" --config "$dir/config/kube-proxy.yaml"
}

# start_dns: the cluster's own names. There is nobody to ask about others, so those don't exist.
start_dns() {
  kube apply --filename "$config/node/dns-rights.yaml" >>"$dir/logs/kubectl.log"
  cat >"$dir/config/Corefile" <<COREFILE
cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {
  bind $cluster_dns
  errors
  kubernetes {
    kubeconfig $dir/kubeconfigs/coredns
    pods insecure
    ttl 5
  }
}
.:53 {
  bind $cluster_dns
  template ANY ANY {
    rcode NXDOMAIN
  }
}
COREFILE
  run_process "$dir" coredns "${inside[@]}" "$bin/coredns" -conf "$dir/config/Corefile"
}

# make_volumes: claims that name no class are bound to folders in the cluster's own. There is no provisioner, but enough of them to try things out.
# They are open to every user, as those of provisioners are: only the containers that mount one can get there.
make_volumes() {
  local n
  mkdir -p "$dir/volumes"
  for n in {1..20}; do mkdir -p "$dir/volumes/$n" && chmod 777 "$dir/volumes/$n"; done
  {
    cat "$config/node/storage-class.yaml"
    for n in {1..20}; do
      cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: { name: local-$n }
spec:
  storageClassName: local
  capacity: { storage: 10Gi }
  accessModes: [ReadWriteOnce, ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  hostPath: { path: $inner/volumes/$n, type: DirectoryOrCreate }
YAML
    done
  } | kube apply --filename - >>"$dir/logs/kubectl.log"
}
