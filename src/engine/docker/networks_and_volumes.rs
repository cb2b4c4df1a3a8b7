//! Networks, always by id once they exist, and volumes. What is attached to them is the containers' affair.

use std::collections::HashMap;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{ListNetworksOptions, ListVolumesOptions, RemoveVolumeOptions};

use super::DockerEngine;
use super::container_view::sorted;
use super::failure::{absent_as_done, absent_as_none};
use super::names::checked_name;
use crate::engine::{
    EngineError, EngineErrorKind, NetworkId, NetworkOnEngine, NetworkSpec, Result, VolumeOnEngine, VolumeSpec,
};

impl DockerEngine {
    pub(super) async fn networks_where(&self, filter: &str, value: String) -> Result<Vec<NetworkOnEngine>> {
        let options = ListNetworksOptions {
            filters: Some(HashMap::from([(filter.to_owned(), vec![value.clone()])])),
        };
        let listed = self
            .short(
                "listing networks with",
                &value,
                self.client.list_networks(Some(options)),
            )
            .await?;
        let mut networks: Vec<NetworkOnEngine> = listed
            .into_iter()
            .map(|network| NetworkOnEngine {
                id: NetworkId(network.id.unwrap_or_default()),
                name: network.name.unwrap_or_default(),
                labels: sorted(network.labels),
            })
            .collect();
        networks.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(networks)
    }

    pub(super) async fn make_network(&self, spec: &NetworkSpec) -> Result<NetworkId> {
        let network = &spec.network;
        let request = NetworkCreateRequest {
            name: network.name.clone(),
            driver: network.driver.clone(),
            internal: Some(network.internal),
            attachable: Some(network.attachable),
            enable_ipv6: Some(network.enable_ipv6),
            options: Some(network.driver_opts.clone().into_iter().collect()),
            labels: Some(spec.labels.clone().into_iter().collect()),
            ipam: (!network.ipam.is_empty()).then(|| Ipam {
                config: Some(
                    network
                        .ipam
                        .iter()
                        .map(|pool| IpamConfig {
                            subnet: pool.subnet.clone(),
                            ip_range: pool.ip_range.clone(),
                            gateway: pool.gateway.clone(),
                            auxiliary_addresses: None,
                        })
                        .collect(),
                ),
                ..Ipam::default()
            }),
            ..NetworkCreateRequest::default()
        };
        let created = self
            .short(
                "creating network",
                &network.name,
                self.client.create_network(request),
            )
            .await;
        match created {
            Ok(answer) => Ok(NetworkId(answer.id)),
            // Newer engines know unique names.
            Err(error) if error.kind == EngineErrorKind::Conflict => Err(EngineError {
                kind: EngineErrorKind::NameTaken,
                ..error
            }),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn drop_network(&self, id: &NetworkId) -> Result<()> {
        let name = checked_name("removing network", &id.0)?;
        let call = async {
            match self.client.remove_network(name).await {
                Err(error) if super::failure::status(&error) == Some(403) => Ok(Err(error)),
                outcome => outcome.map(Ok),
            }
        };
        match absent_as_none(self.short("removing network", name, call).await)? {
            None | Some(Ok(())) => Ok(()),
            // The engine forbids it while containers are attached.
            Some(Err(error)) => Err(EngineError {
                kind: EngineErrorKind::Conflict,
                ..self.failed("removing network", name, &error)
            }),
        }
    }

    pub(super) async fn find_volume(&self, name: &str) -> Result<Option<VolumeOnEngine>> {
        let name = checked_name("inspecting volume", name)?;
        let seen = self
            .short("inspecting volume", name, self.client.inspect_volume(name))
            .await;
        Ok(absent_as_none(seen)?.map(|volume| VolumeOnEngine {
            name: volume.name,
            labels: volume.labels.into_iter().collect(),
        }))
    }

    pub(super) async fn volumes_where(&self, label: &str) -> Result<Vec<VolumeOnEngine>> {
        let options = ListVolumesOptions {
            filters: Some(HashMap::from([("label".to_owned(), vec![label.to_owned()])])),
        };
        let listed = self
            .short(
                "listing volumes with",
                label,
                self.client.list_volumes(Some(options)),
            )
            .await?;
        let mut volumes: Vec<VolumeOnEngine> = listed
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| VolumeOnEngine {
                name: volume.name,
                labels: volume.labels.into_iter().collect(),
            })
            .collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// The engine's own call is idempotent, but answers an existing volume of another driver with an error; it is
    /// left as it is here.
    pub(super) async fn make_volume(&self, spec: &VolumeSpec) -> Result<()> {
        let volume = &spec.volume;
        if self.find_volume(&volume.name).await?.is_some() {
            return Ok(());
        }
        let request = VolumeCreateRequest {
            name: Some(volume.name.clone()),
            driver: volume.driver.clone(),
            driver_opts: Some(volume.driver_opts.clone().into_iter().collect()),
            labels: Some(spec.labels.clone().into_iter().collect()),
            cluster_volume_spec: None,
        };
        self.short(
            "creating volume",
            &volume.name,
            self.client.create_volume(request),
        )
        .await
        .map(|_| ())
    }

    pub(super) async fn drop_volume(&self, name: &str) -> Result<()> {
        let name = checked_name("removing volume", name)?;
        let call = self.client.remove_volume(name, None::<RemoveVolumeOptions>);
        absent_as_done(self.short("removing volume", name, call).await)
    }
}
