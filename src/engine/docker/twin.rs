//! A container made exactly like an existing one, from what the engine says of that one. For the way back, where a
//! stopped container does not start again: runc 1.1 gives a tmpfs whose folder is not in the image another mode at
//! the second start, so that a process that is not root cannot write there any more.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, NetworkConnectRequest, NetworkingConfig,
};
use bollard::query_parameters::CreateContainerOptions;

use super::DockerEngine;
use super::names::checked_name;
use crate::engine::{ContainerId, EngineError, EngineErrorKind, Result};

const OPERATION: &str = "creating a container like";

impl DockerEngine {
    pub(super) async fn twin(&self, of: &ContainerId, name: &str) -> Result<ContainerId> {
        let name = checked_name(OPERATION, name)?;
        let existing = self.inspect(&of.0).await?;
        let mut endpoints = endpoints(&existing, of);
        let first = if endpoints.is_empty() {
            None
        } else {
            Some(endpoints.remove(0))
        };
        let body = body(existing, of, first)?;
        let options = CreateContainerOptions {
            name: Some(name.to_owned()),
            platform: String::new(),
        };
        let id = self.create_with(name, options, body).await?;
        for (network, settings) in endpoints {
            let request = NetworkConnectRequest {
                container: id.0.clone(),
                endpoint_config: Some(settings),
            };
            let call = self.client.connect_network(&network, request);
            if let Err(error) = self
                .short("connecting to its network container", name, call)
                .await
            {
                if let Err(second) = self.remove(&id).await {
                    tracing::warn!(container = name, %second, "left behind half connected");
                }
                return Err(error);
            }
        }
        Ok(id)
    }
}

/// The networks by id, in the order of their names; what only a running endpoint has is left away.
fn endpoints(existing: &ContainerInspectResponse, of: &ContainerId) -> Vec<(String, EndpointSettings)> {
    let networks = existing
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let mut endpoints: Vec<(&String, &EndpointSettings)> = networks.into_iter().flatten().collect();
    endpoints.sort_by_key(|(name, _)| *name);
    endpoints
        .into_iter()
        .map(|(name, settings)| {
            // The engine adds the container's own id to its aliases.
            let mut aliases = settings.aliases.clone().unwrap_or_default();
            aliases.retain(|alias| alias != of.short());
            let kept = EndpointSettings {
                aliases: Some(aliases),
                ipam_config: settings.ipam_config.clone(),
                links: settings.links.clone(),
                driver_opts: settings.driver_opts.clone(),
                ..EndpointSettings::default()
            };
            (
                settings
                    .network_id
                    .clone()
                    .filter(|id| !id.is_empty())
                    .unwrap_or_else(|| name.clone()),
                kept,
            )
        })
        .collect()
}

/// The API describes an existing container by the same fields that it takes for a new one, so they are handed over as
/// they are, known to us or not.
fn body(
    existing: ContainerInspectResponse,
    of: &ContainerId,
    first: Option<(String, EndpointSettings)>,
) -> Result<ContainerCreateBody> {
    let unreadable = |error: serde_json::Error| {
        EngineError::new(OPERATION, of.short(), EngineErrorKind::Other, error.to_string())
    };
    let config = serde_json::to_value(existing.config).map_err(unreadable)?;
    let mut body: ContainerCreateBody = serde_json::from_value(config).map_err(unreadable)?;
    // The one image that it was made from, whatever its reference points at today.
    body.image = existing.image;
    // Where nothing was said the engine names the host after the container.
    body.hostname = body.hostname.filter(|hostname| hostname != of.short());
    let mut host = existing.host_config.unwrap_or_default();
    if let Some((network, settings)) = first {
        // A mode that names a network names the first endpoint's; others (host, none, a container) stand as they are.
        let names_a_network = host.network_mode.as_deref().is_none_or(|mode| {
            !matches!(mode, "host" | "none" | "bridge" | "default") && !mode.starts_with("container:")
        });
        if names_a_network {
            host.network_mode = Some(network.clone());
            body.networking_config = Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(network, settings)])),
            });
        }
    }
    body.host_config = Some(host);
    Ok(body)
}
