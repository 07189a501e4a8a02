//! Shadowing: of all dists with one normalized name, over all path entries, the first counts.

use super::view::View;
use foldhash::{HashMap, HashMapExt};
use std::borrow::Cow;

/// Which dist is the first of its normalized name, for the names that matter.
pub(super) struct Shadowing<'v> {
    first: HashMap<Cow<'v, [u8]>, Option<(usize, usize)>>,
}

impl<'v> Shadowing<'v> {
    /// Looks through all dists once, for the names of those `concerned` in each view.
    pub(super) fn among(views: &'v [View<'_>], concerned: &[Vec<usize>]) -> Self {
        let mut first = HashMap::new();
        for (view, dists) in views.iter().zip(concerned) {
            first.extend(
                dists
                    .iter()
                    .filter_map(|&dist| view.normalized_name(dist))
                    .map(|name| (name, None)),
            );
        }
        let mut wanted = first.len();
        for (number, view) in views.iter().enumerate() {
            for dist in 0..view.dists.len() {
                if wanted == 0 {
                    return Self { first };
                }
                let Some(name) = view.normalized_name(dist) else {
                    continue;
                };
                if let Some(place @ None) = first.get_mut(&name) {
                    *place = Some((number, dist));
                    wanted -= 1;
                }
            }
        }
        Self { first }
    }

    pub(super) fn is_shadowed(&self, views: &[View<'_>], view: usize, dist: usize) -> bool {
        let name = views[view].normalized_name(dist);
        name.and_then(|name| self.first.get(&name).copied().flatten())
            .is_some_and(|first| first != (view, dist))
    }
}
