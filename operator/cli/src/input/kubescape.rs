//! Kubescape's resources: a profile for each container, as the Security Profiles Operator writes one.
//!
//! Source: `SeccompProfileSpec`, `ApplicationProfileContainer` and `SingleSeccompProfileSpec` in kubescape/storage's
//! `pkg/apis/softwarecomposition`, and `AddSeccompProfile` in kubescape/node-agent's `pkg/seccompmanager/v1`.

use portcullis_profile::{printable, spo};

use super::{
    File,
    kinds::{Reading, loaded, metadata, notes_of},
    problem::Unreadable,
    source::Format,
    tree::{Content, Node},
};

/// The lists of containers in a resource's `spec`.
const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

impl Reading<'_> {
    /// Adds the profiles of a resource's containers to its file.
    pub(super) fn kubescape(&self, item: &Node, prefix: &str, file: &mut File) {
        let before = (file.profiles.len(), file.notes.len());
        for list in LISTS {
            let containers = item.get("spec").and_then(|spec| spec.get(list));
            let Some(Content::List(containers)) = containers.map(|list| &list.content) else { continue };
            for (index, container) in containers.iter().enumerate() {
                self.container(item, container, &format!("spec.{list}[{index}]"), prefix, file);
            }
        }
        if before == (file.profiles.len(), file.notes.len()) {
            file.passed_over += 1;
        }
    }

    fn container(&self, item: &Node, container: &Node, path: &str, prefix: &str, file: &mut File) {
        let name = container.text("name").map(printable).unwrap_or_default();
        let object = metadata(item, "name").unwrap_or_default();
        // A SeccompProfile has it in its place, an ApplicationProfile beside what else was seen.
        let own = container.get("spec").map(|spec| (spec, "spec"));
        let spec = own.or_else(|| {
            let spec = container.get("seccompProfile").and_then(|profile| profile.get("spec"))?;
            Some((spec, "seccompProfile.spec"))
        });
        let is_set = |spec: &Node| spec.text("defaultAction") != Some("");
        let Some((spec, within)) = spec.filter(|(spec, _)| is_set(spec)) else {
            if container.get("syscalls").is_some() {
                file.notes.push(format!(
                    "{}: {object}, container {name}: {path}.syscalls is a list of calls and no profile; Kubescape makes a \
                     SeccompProfile of it: read that",
                    file.name
                ));
            }
            return;
        };
        let mut source = self.source(item, Format::Oci, [prefix, &format!("{path}.{within}")], file);
        let kind = item.text("kind").map(printable).unwrap_or_default();
        let whole = [source.namespace.as_deref(), Some(&object)].into_iter().flatten().collect::<Vec<_>>();
        source.title = Some(format!("{kind} {}, container {name}", whole.join("/")));
        source.object = Some(format!("{object}-{name}"));
        file.profiles.push(match spo::document(&spec.to_value()) {
            Ok(resource) => {
                let notes = notes_of(&resource);
                Ok(loaded(resource.profile, source, notes))
            }
            Err(errors) => Err(Unreadable::of_profile(&errors, &source)),
        });
    }
}
