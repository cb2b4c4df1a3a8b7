//! The order in which services depend on each other.

use std::collections::BTreeSet;

use super::model::{Project, Service, ServiceName};

impl Project {
    /// Every service after those it depends on; otherwise by name. The same project always gives the same order.
    pub fn services_in_dependency_order(&self) -> Vec<&Service> {
        let mut placed: BTreeSet<&ServiceName> = BTreeSet::new();
        let mut order = Vec::new();
        while order.len() < self.services.len() {
            let ready = |service: &&Service| {
                !placed.contains(&service.name)
                    && service
                        .depends_on
                        .keys()
                        .all(|name| placed.contains(name) || !self.services.contains_key(name))
            };
            // A circle is refused by the loader; of a project made by hand the rest follows by name.
            let next = self.services.values().find(ready).or_else(|| {
                self.services
                    .values()
                    .find(|service| !placed.contains(&service.name))
            });
            let Some(service) = next else { break };
            placed.insert(&service.name);
            order.push(service);
        }
        order
    }

    /// Services that depend on each other in a circle: the names on the way, the first one again at the end.
    pub(super) fn dependency_circle(&self) -> Option<Vec<&ServiceName>> {
        let mut finished = BTreeSet::new();
        self.services
            .keys()
            .find_map(|name| self.circle_from(name, &mut Vec::new(), &mut finished))
    }

    fn circle_from<'a>(
        &'a self,
        name: &'a ServiceName,
        way: &mut Vec<&'a ServiceName>,
        finished: &mut BTreeSet<&'a ServiceName>,
    ) -> Option<Vec<&'a ServiceName>> {
        if let Some(start) = way.iter().position(|earlier| *earlier == name) {
            return Some(way[start..].iter().copied().chain([name]).collect());
        }
        if !finished.insert(name) {
            return None;
        }
        way.push(name);
        let circle = self
            .services
            .get(name)
            .into_iter()
            .flat_map(|service| service.depends_on.keys())
            .find_map(|next| self.circle_from(next, way, finished));
        way.pop();
        circle
    }
}
