//! How sinks speak TLS: rustls with ring, whatever another crate may have installed as the process's default.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// A client's TLS settings.
///
/// With `ca` (PEM), its certificates are the only ones trusted: whoever runs a CA of their own for billing does not
/// want every public one to vouch for it too. Without, the machine's own store is used; that it may be empty matters
/// only once a certificate has to be checked, so that plain HTTP works in an image without one.
pub(crate) fn client_config(ca: Option<&str>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| format!("the CA is not valid PEM: {error}"))?;
                roots.add(certificate).map_err(|error| format!("a certificate of the CA cannot be used: {error}"))?;
            }
            if roots.is_empty() {
                return Err("the CA holds no certificate; it must be one or more in PEM".to_owned());
            }
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
