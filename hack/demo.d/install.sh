# shellcheck shell=bash
# What a cluster needs to have Trueup in it: the custom resources, a namespace, exactly the chart's rights, keys.

readonly own_namespace=trueup-system

install_trueup() {
  doing="installing Trueup into the cluster"
  in_cluster kubectl apply --server-side --filename "$root/crds" >"$place/logs/kubectl.log"
  rights | in_cluster kubectl apply --filename - >>"$place/logs/kubectl.log"
  make_controller_kubeconfig
  # Keys are made up for each run, and never written into the repository.
  new_secret "$own_namespace" billing-signing key "whsec_$(openssl rand -base64 32)"
  in_cluster kubectl wait --for condition=Established --timeout 20s --filename "$root/crds" >>"$place/logs/kubectl.log"
}

# rights: the chart's rules, bound to the controller's user. Whatever is missing in them fails here.
rights() {
  cat <<YAML
apiVersion: v1
kind: Namespace
metadata: { name: $own_namespace }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: trueup-demo }
rules:
$(<"$root/charts/trueup/files/cluster-rules.yaml")
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: trueup-demo }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: trueup-demo }
subjects: [$(controller_subject)]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: trueup-demo, namespace: $own_namespace }
rules:
$(<"$root/charts/trueup/files/namespace-rules.yaml")
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: trueup-demo, namespace: $own_namespace }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: trueup-demo }
subjects: [$(controller_subject)]
YAML
}

# controller_subject: the throwaway cluster has a user for it; somebody's own cluster gets a ServiceAccount.
controller_subject() {
  if [[ $mode == current ]]; then
    echo "{ kind: ServiceAccount, name: trueup-demo, namespace: $own_namespace }"
  else
    echo "{ kind: User, name: trueup-controller, apiGroup: rbac.authorization.k8s.io }"
  fi
}

# make_controller_kubeconfig: sets controller_kubeconfig.
make_controller_kubeconfig() {
  if [[ $mode == current ]]; then
    controller_kubeconfig=$place/data/controller.kubeconfig
    current_kubeconfig_for_controller >"$controller_kubeconfig"
  else
    controller_kubeconfig=$cluster_folder/trueup.kubeconfig
  fi
}

# new_secret NAMESPACE NAME KEY VALUE: by standard input, since command lines are there for everyone to see. One that is there
# already stays as it is.
new_secret() {
  jq --null-input --arg namespace "$1" --arg name "$2" --arg key "$3" --rawfile value <(printf '%s' "$4") \
    '{apiVersion: "v1", kind: "Secret", metadata: {$namespace, $name}, stringData: {($key): $value}}' |
    in_cluster kubectl create --filename - >>"$place/logs/kubectl.log"
}
