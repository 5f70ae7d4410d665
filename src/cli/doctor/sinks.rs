//! Looks at BillingSinks: what the controller says of them, whether their Secrets are there, whether anybody answers.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::net::TcpStream;

use super::facts::Sink;
use crate::api::{BillingSink, BillingSinkSpec, SecretKey};

/// How long a receiver may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks at all of them.
pub async fn look(client: &Client, namespace: &str) -> Result<Vec<Sink>, kube::Error> {
    let api: Api<BillingSink> = Api::all(client.clone());
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut all = vec![];
    for sink in api.list(&ListParams::default()).await? {
        let conditions = sink.status.iter().flat_map(|status| &status.conditions);
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        all.push(Sink {
            name: sink.name_any(),
            ready: ready.map(|it| (it.status == "True", it.reason.clone(), it.message.clone())),
            secret: match secret_of(&sink.spec) {
                Some(reference) => has(&secrets, namespace, reference).await,
                None => Ok(()),
            },
            reached: reach(&addresses(&sink.spec)).await,
        });
    }
    Ok(all)
}

fn secret_of(spec: &BillingSinkSpec) -> Option<&SecretKey> {
    let webhook = spec.webhook.as_ref().map(|sink| &sink.secret_ref);
    let nats = spec.nats.as_ref().and_then(|sink| sink.credentials_ref.as_ref());
    let openmeter = spec.openmeter.as_ref().and_then(|sink| sink.token_ref.as_ref());
    webhook.or(nats).or(openmeter)
}

/// Whether the Secret has something under that key. What, nobody looks at.
async fn has(secrets: &Api<Secret>, namespace: &str, reference: &SecretKey) -> Result<(), String> {
    let SecretKey { name, key } = reference;
    match secrets.get_opt(name).await {
        Err(error) => Err(format!("Secret {namespace}/{name} could not be read: {error}")),
        Ok(None) => Err(format!("Secret {namespace}/{name} does not exist")),
        Ok(Some(secret)) => {
            let there = secret.data.unwrap_or_default().get(key).is_some_and(|value| !value.0.is_empty());
            if there { Ok(()) } else { Err(format!("Secret {namespace}/{name} has nothing under key {key}")) }
        }
    }
}

/// Where its receiver is, as `HOST:PORT`.
fn addresses(spec: &BillingSinkSpec) -> Vec<String> {
    let webhook = spec.webhook.iter().map(|sink| sink.url.as_str());
    let openmeter = spec.openmeter.iter().map(|sink| sink.url.as_str());
    let nats = spec.nats.iter().flat_map(|sink| sink.url.split(',').map(str::trim));
    webhook.chain(openmeter).chain(nats).map(address).collect()
}

fn address(url: &str) -> String {
    let Ok(url) = reqwest::Url::parse(url) else { return url.to_owned() };
    let port = url.port_or_known_default().unwrap_or(4222);
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

/// The first address, if all of them take connections; or what is wrong with the first that does not.
async fn reach(addresses: &[String]) -> Result<String, String> {
    for address in addresses {
        match tokio::time::timeout(PATIENCE, TcpStream::connect(address.as_str())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(format!("{address} cannot be reached: {error}")),
            Err(_) => return Err(format!("{address} does not answer within {} s", PATIENCE.as_secs())),
        }
    }
    Ok(addresses.first().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (url, expected) in [
            ("https://billing.example/events", "billing.example:443"),
            ("http://127.0.0.1:8090/events", "127.0.0.1:8090"),
            ("nats://queue.example", "queue.example:4222"),
            ("tls://queue.example:4223", "queue.example:4223"),
            ("http://[::1]:80/", "[::1]:80"),
        ] {
            assert_eq!(address(url), expected);
        }
    }
}
