//! A certificate for loopback, and the CA that vouches for it.

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

pub struct Vouched {
    /// The CA's own certificate, PEM.
    pub ca: String,
    pub certificate: Certificate,
    pub key: KeyPair,
}

impl Vouched {
    /// For `localhost`, by a CA that was made for it alone.
    pub fn for_localhost() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
        Self { ca: ca.pem(), certificate, key }
    }
}
