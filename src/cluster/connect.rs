//! A client that never repeats a write on its own.

use std::{path::Path, time::Duration};

use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{
    RequestMetrics,
    write::{is_refusal, said},
};

/// Why there is no connection to the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no configuration that says where the cluster is, or it is wrong.
    #[error("reading the cluster's address: {0}; set KUBECONFIG to a kubeconfig file, or run inside a cluster")]
    Configuration(String),
    /// The API server answers, and does not know who asks.
    #[error("asking the API server at {url} for its version: {}; are the kubeconfig's credentials still valid?", said(.source))]
    Refused {
        /// Where it is.
        url: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// The API server does not answer.
    #[error(
        "asking the API server at {url} for its version: {}; is it running, and can it be reached from here?", said(.source)
    )]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What the client said.
        source: Box<kube::Error>,
    },
}

/// Connects by `kubeconfig`, or by what the environment says, and asks for the version to see that it works.
///
/// The client's own retries are off: they would send a write again that nobody decided about, from a process that may
/// have lost its lease meanwhile.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let (config, url) = configured(kubeconfig).await?;
    let client = Client::try_from(config).map_err(|error| ConnectError::Configuration(error.to_string()))?;
    works(client, url).await
}

/// The same, and `requests` are counted.
pub async fn connect_counted(kubeconfig: Option<&Path>, requests: &RequestMetrics) -> Result<Client, ConnectError> {
    let (config, url) = configured(kubeconfig).await?;
    let builder = ClientBuilder::try_from(config).map_err(|error| ConnectError::Configuration(error.to_string()))?;
    works(builder.with_layer(requests).build(), url).await
}

async fn configured(kubeconfig: Option<&Path>) -> Result<(Config, String), ConnectError> {
    let configuration = |error: &dyn std::fmt::Display| ConnectError::Configuration(error.to_string());
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| configuration(&error))?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| configuration(&error))?
        }
        None => Config::infer().await.map_err(|error| configuration(&error))?,
    };
    config.connect_timeout = Some(Duration::from_secs(5));
    config.default_retry = false;
    let url = config.cluster_url.to_string();
    Ok((config, url))
}

async fn works(client: Client, url: String) -> Result<Client, ConnectError> {
    match tokio::time::timeout(Duration::from_secs(10), client.apiserver_version()).await {
        Ok(Ok(_)) => Ok(client),
        Ok(Err(source)) if is_refusal(&source) => Err(ConnectError::Refused { url, source: Box::new(source) }),
        Ok(Err(source)) => Err(ConnectError::Unreachable { url, source: Box::new(source) }),
        Err(_) => Err(ConnectError::Unreachable {
            url,
            source: Box::new(kube::Error::Service("no answer within 10 s".into())),
        }),
    }
}
