# shellcheck shell=bash
# Keys, certificates, tokens and kubeconfigs: made anew for each cluster, kept in its folder, gone with it.

# make_keys DIR ADDRESS...: an authority, the API server's certificate for these addresses, the certificate by which the API
# server proves itself to kubelets, and the key that signs the tokens of service accounts.
make_keys() {
  local -r dir=$1
  shift
  command -v openssl >/dev/null || fail "making the keys of cluster ${dir##*/}" "the command 'openssl' is not in PATH" \
    "install the package openssl"
  mkdir -p "$dir/pki"
  (
    set -e
    umask 077
    cd "$dir/pki"
    new_key ca
    openssl req -x509 -new -key ca.key -subj "/CN=throwaway-cluster-ca" -days 3650 -out ca.crt \
      -addext "keyUsage=critical,keyCertSign,cRLSign"
    new_key apiserver
    sign apiserver "/CN=kube-apiserver" serverAuth "$(alternative_names "$@")"
    new_key kubelet-client
    sign kubelet-client "/O=system:masters/CN=kube-apiserver-kubelet-client" clientAuth "DNS:kube-apiserver"
    new_key service-accounts
  ) >"$dir/logs/openssl.log" 2>&1 ||
    fail "making the keys of cluster ${dir##*/}" "$(tail -n 2 "$dir/logs/openssl.log")" "see $dir/logs/openssl.log"
}

# new_key NAME: elliptic, because making one takes a hundredth of what RSA takes.
new_key() { openssl ecparam -genkey -name prime256v1 -noout -out "$1.key"; }

# sign NAME SUBJECT USAGE NAMES: NAME.crt, signed by the authority.
sign() {
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days 3650 -out "$1.crt" \
    -extfile <(printf '%s\n' "subjectAltName=$4" "extendedKeyUsage=$3" "keyUsage=critical,digitalSignature" "basicConstraints=CA:FALSE")
  rm "$1.csr"
}

# alternative_names ADDRESS...: every name by which clients and pods reach the API server.
alternative_names() {
  local name names="DNS:localhost"
  for name in kubernetes{,.default{,.svc{,.cluster.local}}}; do names+=",DNS:$name"; done
  for name in "$@"; do names+=",IP:$name"; done
  echo "$names"
}

# new_user DIR SERVER FILE USER [GROUP]: a user with a token of its own, and its kubeconfig. The token file is read by the
# API server when it starts, so users are made before that. Names are quoted: YAML takes a cluster called "n" for a "no".
new_user() {
  local -r dir=$1 server=$2 file=$3 user=$4 group=${5:-}
  local token
  token=$(openssl rand -hex 24)
  (
    umask 077
    printf '%s,%s,%s%s\n' "$token" "$user" "$user" "${group:+,\"$group\"}" >>"$dir/pki/tokens.csv"
    cat >"$file" <<YAML
apiVersion: v1
kind: Config
current-context: "${dir##*/}"
clusters:
  - name: "${dir##*/}"
    cluster:
      server: $server
      certificate-authority-data: $(base64 -w0 "$dir/pki/ca.crt")
users:
  - name: "$user"
    user:
      token: $token
contexts:
  - name: "${dir##*/}"
    context:
      cluster: "${dir##*/}"
      user: "$user"
YAML
  )
}
