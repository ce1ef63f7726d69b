// SPDX-License-Identifier: GPL-2.0-only
//! Looks for members on this host: children of the parent cgroup, or what the configuration file names.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use runtime::exit::UsageError;
use tracing::{info, warn};

use crate::cgroups::{Exclude, InotifyWatch, Memory, NoWatch, Parent, Watch, by_config, each_child};
use crate::config::Config;
use crate::options::Options;
use crate::tenants::Found;
use crate::weigher::TreeNode;

/// What members are made of.
enum Source {
    /// Nothing: everything is everything else.
    Nothing,
    /// The children of one cgroup, but for those excluded.
    Children(Exclude),
    /// What a file says.
    File { path: PathBuf, config: Config },
}

/// Looks for members, when it is time or when something has changed.
pub struct Finder {
    source: Source,
    parent: Option<Parent>,
    watch: Box<dyn Watch>,
    hangup: Option<Arc<AtomicBool>>,
    /// Whether the next look has a new configuration to go by.
    reloaded: bool,
    root: PathBuf,
    /// What was last read below `parent`.
    members: Memory,
    /// What was last read below `root`.
    hierarchy: Memory,
}

impl Finder {
    /// Checks the options' parent cgroup, patterns and file.
    ///
    /// # Errors
    /// [`UsageError`] in one line.
    pub fn new(options: &Options) -> Result<Self, UsageError> {
        let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
        let root = options.cgroup_root();
        if let Some(path) = &options.config {
            let config = Config::load(path).map_err(|error| usage(&error))?;
            let parent = Parent::open(&root).map_err(|error| usage(&error))?;
            let watch = watch(&root);
            let source = Source::File { path: path.clone(), config };
            return Ok(Self::of(source, Some(parent), watch, root));
        }
        let Some(directory) = options.parent_directory() else {
            return Ok(Self::of(Source::Nothing, None, Box::new(NoWatch), root));
        };
        let exclude = Exclude::new(&options.cell_exclude).map_err(|error| usage(&error))?;
        let parent = Parent::open(&directory).map_err(|error| usage(&error))?;
        Ok(Self::of(Source::Children(exclude), Some(parent), watch(&directory), root))
    }

    fn of(source: Source, parent: Option<Parent>, watch: Box<dyn Watch>, root: PathBuf) -> Self {
        let (members, hierarchy) = (Memory::default(), Memory::default());
        Self { source, parent, watch, hangup: None, reloaded: false, root, members, hierarchy }
    }

    /// Reads the file again whenever `raised` is up.
    pub fn reload_on(&mut self, raised: Arc<AtomicBool>) {
        self.hangup = Some(raised);
    }

    /// Reads the file again if that was asked for since the last call; the next look is due then.
    ///
    /// # Errors
    /// One line; what the file said before stays in force.
    pub fn reload(&mut self) -> Result<(), String> {
        if !self.hangup.as_ref().is_some_and(|raised| raised.swap(false, Ordering::SeqCst)) {
            return Ok(());
        }
        if let Source::File { path, config } = &mut self.source {
            match config.reload(path) {
                Ok(true) => info!("{} is in force", path.display()),
                Ok(false) => info!("{} says what it said before", path.display()),
                Err(error) => return Err(error.to_string()),
            }
        }
        self.reloaded = true;
        Ok(())
    }

    /// The members, if `due` or if something may have changed.
    ///
    /// # Errors
    /// One line; what was found before stays in force.
    pub fn look(&mut self, due: bool) -> Result<Option<Found>, String> {
        // Always asked, so that what it knows does not pile up.
        let changed = self.watch.changed();
        let reloaded = std::mem::take(&mut self.reloaded);
        if !(due || reloaded || changed) {
            return Ok(None);
        }
        self.find().map(Some)
    }

    /// The members as they are now; what cannot be read is as it was.
    ///
    /// # Errors
    /// As [`Finder::look`].
    pub fn find(&mut self) -> Result<Found, String> {
        let Some(parent) = &self.parent else { return Ok(Found::default()) };
        let scan = match &self.source {
            Source::Nothing => return Ok(Found::default()),
            Source::Children(exclude) => parent.scan(exclude),
            Source::File { .. } => parent.walk(&Exclude::default()),
        };
        let mut scan = scan.map_err(|error| error.to_string())?;
        self.members.complete(&mut scan);
        Ok(match &self.source {
            Source::File { config, .. } => by_config(config, &scan),
            _ => each_child(&scan),
        })
    }

    /// The whole hierarchy with its weights, parents first; empty if it cannot be read. What of it cannot be read is as it was.
    pub fn tree(&mut self) -> Vec<TreeNode> {
        tree(&self.root, &mut self.hierarchy)
    }
}

fn watch(directory: &Path) -> Box<dyn Watch> {
    match InotifyWatch::new(directory) {
        Ok(watch) => Box::new(watch),
        Err(error) => {
            warn!("{error}");
            Box::new(NoWatch)
        }
    }
}

/// The hierarchy mounted at `root`, parents first.
fn tree(root: &Path, memory: &mut Memory) -> Vec<TreeNode> {
    let Ok(metadata) = std::fs::metadata(root) else { return Vec::new() };
    let scan = Parent::open_anywhere(root).and_then(|parent| parent.walk(&Exclude::default()));
    let Ok(mut scan) = scan else { return Vec::new() };
    memory.complete(&mut scan);
    let mut ids: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    let mut tree = vec![TreeNode { id: metadata.ino(), parent: None, weight: 100 }];
    for child in &scan.children {
        let parent =
            child.path.rsplit_once('/').map_or(Some(metadata.ino()), |(above, _)| ids.get(above).copied());
        // Read while its parent vanished.
        let Some(parent) = parent else { continue };
        ids.insert(&child.path, child.inode);
        tree.push(TreeNode { id: child.inode, parent: Some(parent), weight: child.weight });
    }
    tree
}

#[cfg(test)]
mod tests;
