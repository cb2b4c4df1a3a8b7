//! What every engine must do, as one suite: run against `FakeEngine` in `it` and against a real Docker Engine in
//! `docker`, so that what the steps' tests learn from the fake is true. Nothing here knows which one it is.

mod containers;
mod events;
mod files;
mod networks_and_volumes;
mod processes;
pub(crate) mod specs;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use viatique_deploy::compose::Healthcheck;
use viatique_deploy::engine::{
    Container, ContainerId, ContainerSpec, Engine, EngineErrorKind, ImageId, NetworkEndpoint, NetworkId,
    Result,
};

pub(crate) use containers::*;
pub(crate) use events::*;
pub(crate) use files::*;
pub(crate) use networks_and_volumes::*;
pub(crate) use processes::*;

/// An engine to test, and what is on it. The images may all be the same one, where the engine runs real processes.
pub(crate) struct Ground {
    pub(crate) engine: Arc<dyn Engine>,
    /// Unique; part of every name, and the value of the project label on every object.
    pub(crate) project: String,
    /// Runs what it is told to run, and has a shell.
    pub(crate) plain: ImageId,
    /// A reference of `plain`.
    pub(crate) plain_reference: String,
    /// Becomes healthy, where the container has a health test.
    pub(crate) healthy: ImageId,
    /// Never does.
    pub(crate) unhealthy: ImageId,
    /// Writes `one`, `two`, `three` and exits with 3.
    pub(crate) exiting: ImageId,
    /// The same again and again.
    pub(crate) crashing: ImageId,
}

impl Ground {
    /// A name of this test's own.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.project)
    }

    /// A container that runs until it is stopped.
    pub(crate) fn running(&self, what: &str) -> ContainerSpec {
        self.container(what, &self.plain, &["sleep", "600"])
    }

    /// A container that becomes healthy.
    pub(crate) fn healthy(&self, what: &str) -> ContainerSpec {
        let mut spec = self.container(what, &self.healthy, &["sleep", "600"]);
        spec.service.healthcheck = Some(health_test(&["CMD", "true"]));
        spec
    }

    /// A container that becomes unhealthy.
    pub(crate) fn unhealthy(&self, what: &str) -> ContainerSpec {
        let mut spec = self.container(what, &self.unhealthy, &["sleep", "600"]);
        spec.service.healthcheck = Some(health_test(&["CMD-SHELL", "echo not well; exit 1"]));
        spec
    }

    /// A container that writes three lines and exits with 3.
    pub(crate) fn exiting(&self, what: &str) -> ContainerSpec {
        self.container(
            what,
            &self.exiting,
            &["sh", "-c", "echo one; echo two; echo three; exit 3"],
        )
    }

    /// A container that does so again and again, twice by itself.
    pub(crate) fn crashing(&self, what: &str) -> ContainerSpec {
        let mut spec = self.container(
            what,
            &self.crashing,
            &["sh", "-c", "echo one; echo two; echo three; exit 3"],
        );
        spec.service.restart =
            Some(viatique_deploy::compose::RestartPolicy::OnFailure { max_retries: Some(2) });
        spec
    }

    fn container(&self, what: &str, image: &ImageId, command: &[&str]) -> ContainerSpec {
        let mut spec = specs::container(&self.project, &self.name(what), image);
        spec.service.command = Some(specs::words(command));
        // A first process without handlers ignores SIGTERM; an init passes it on.
        spec.service.init = Some(true);
        spec
    }

    /// Creates and starts it.
    pub(crate) async fn start(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.engine.create_container(spec).await.unwrap();
        self.engine.start(&id).await.unwrap();
        id
    }

    /// The container as it stands now; it must exist.
    pub(crate) async fn look(&self, id: &ContainerId) -> Container {
        self.engine.container(&id.0).await.unwrap().unwrap()
    }

    /// Looks until it stands as wanted.
    pub(crate) async fn look_until(
        &self,
        id: &ContainerId,
        wanted: impl Fn(&Container) -> bool,
    ) -> Container {
        eventually("the container stands as wanted", || async {
            let container = self.look(id).await;
            wanted(&container).then_some(container)
        })
        .await
    }
}

/// Quick, so that a test need not wait long.
fn health_test(test: &[&str]) -> Healthcheck {
    Healthcheck::Test {
        test: Some(specs::words(test)),
        interval: Some(Duration::from_millis(200)),
        timeout: Some(Duration::from_secs(10)),
        retries: Some(1),
        start_period: None,
        start_interval: None,
    }
}

/// A place on a network.
pub(crate) fn endpoint(network: &NetworkId, aliases: &[&str]) -> NetworkEndpoint {
    NetworkEndpoint {
        network: network.clone(),
        aliases: specs::words(aliases),
        ipv4_address: None,
        ipv6_address: None,
        mac_address: None,
    }
}

/// Asks again until there is an answer; gives up loudly after 30 s of the test's time.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking)
        .await
        .unwrap_or_else(|_| panic!("not within 30 s: {what}"))
}

/// The kind of the error; a success is a failure of the test.
pub(crate) fn kind<T: Debug>(result: Result<T>) -> EngineErrorKind {
    result.expect_err("this must not succeed").kind
}

/// One test per contract, each given to the function that provides the ground.
macro_rules! contract_tests {
    ($on:path: $($test:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $test() {
                $on(stringify!($test), $crate::contract::$test).await;
            }
        )*
    };
    ($on:path) => {
        $crate::contract::contract_tests!($on:
            a_name_is_taken_once,
            starting_stopping_and_removing_can_be_repeated,
            a_stopped_container_starts_again,
            what_does_not_exist_is_not_found,
            names_that_are_none_are_refused,
            labels_select_containers,
            a_container_is_renamed,
            a_twin_is_made_exactly_like_its_model,
            health_is_told,
            an_ended_container_tells_its_code_and_its_last_lines,
            restarts_are_counted,
            a_log_is_read_by_its_moments,
            a_running_container_tells_what_it_uses,
            capacity_is_told,
            its_clock_goes_on,
            an_image_is_tagged_and_untagged,
            events_are_told_from_the_call_on,
            events_tell_that_health_has_changed,
            what_was_told_is_seen_when_inspected,
            a_signal_reaches_what_runs,
            many_containers_are_listed_in_order,
            a_one_off_gives_its_output_and_its_code,
            a_one_off_leaves_nothing_behind,
            a_one_off_is_given_environment,
            exec_gives_its_output_and_its_code,
            exec_reads_its_input_to_the_end,
            exec_wants_a_running_container,
            a_failing_sink_ends_the_call,
            networks_are_told_apart_by_id,
            a_network_in_use_stays,
            a_container_stands_on_two_networks,
            containers_without_aliases_stand_on_a_network,
            addresses_are_there_while_a_container_runs,
            a_failed_connection_leaves_no_container,
            a_volume_is_created_once,
            a_volume_in_use_stays,
            a_marker_keeps_files,
            a_file_takes_the_place_of_a_folder,
            files_outlive_their_marker,
            a_folder_that_is_missing_is_none,
            an_archive_is_whole,
        );
    };
}
pub(crate) use contract_tests;
