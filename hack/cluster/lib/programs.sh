# shellcheck shell=bash
# Which programs there are, which Go module of modules/ each comes from, and how it is built.

# PROGRAMS maps a name to "module package".
declare -grA PROGRAMS=(
  [etcd]="etcd go.etcd.io/etcd/server/v3"
  [kube-apiserver]="kubernetes k8s.io/kubernetes/cmd/kube-apiserver"
  [kube-controller-manager]="kubernetes k8s.io/kubernetes/cmd/kube-controller-manager"
  [kube-scheduler]="kubernetes k8s.io/kubernetes/cmd/kube-scheduler"
  [kubectl]="kubernetes k8s.io/kubernetes/cmd/kubectl"
  [kwok]="kwok sigs.k8s.io/kwok/cmd/kwok"
  [kubelet]="kubernetes k8s.io/kubernetes/cmd/kubelet"
  [kube-proxy]="kubernetes k8s.io/kubernetes/cmd/kube-proxy"
  [coredns]="coredns github.com/coredns/coredns"
  [helm]="helm helm.sh/helm/v4/cmd/helm"
)

# programs_of SET: the programs of a set, in the order in which they are built.
programs_of() {
  local -r control_plane="etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok"
  case $1 in
    control-plane) echo "$control_plane" ;;
    node) echo "$control_plane kubelet kube-proxy coredns" ;;
    helm) echo "helm" ;;
    all) echo "$control_plane kubelet kube-proxy coredns helm" ;;
    *) return 1 ;;
  esac
}

# pinned_version MODULE_FOLDER MODULE: the version that go.mod pins, so that it is written down only once.
pinned_version() {
  awk -v module="$2" '{ for (i = 1; i < NF; i++) if ($i == module && $(i + 1) ~ /^v[0-9]/) { print $(i + 1); exit } }' "$1/go.mod"
}

# linker_flags PROGRAM MODULE_FOLDER: a program built outside its own release process doesn't know its version; an API
# server that calls itself v0.0.0-master confuses clients, and helm refuses charts that ask for a newer helm.
linker_flags() {
  local version
  case ${PROGRAMS[$1]%% *} in
    kubernetes)
      version=$(pinned_version "$2" k8s.io/kubernetes)
      local numbers=${version#v} stamp="-X k8s.io/component-base/version"
      local major=${numbers%%.*} rest=${numbers#*.}
      echo "-s -w $stamp.gitVersion=$version $stamp.gitMajor=$major $stamp.gitMinor=${rest%%.*}"
      ;;
    helm)
      version=$(pinned_version "$2" helm.sh/helm/v4)
      echo "-s -w -X helm.sh/helm/v4/internal/version.version=$version"
      ;;
    *) echo "-s -w" ;;
  esac
}
