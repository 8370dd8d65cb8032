//! The table at the end of a directory.

use super::siphash::hash;
use super::{GOODBYE, GOODBYE_ITEM, GOODBYE_TAIL, HEADER_SIZE};

/// Collects the children of one directory.
#[derive(Debug, Clone)]
pub(super) struct Children {
    /// Where the directory's ENTRY begins.
    entry: u64,
    items: Vec<Item>,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    hash: u64,
    begin: u64,
    size: u64,
}

impl Children {
    /// None yet; the directory's ENTRY begins at `entry`.
    pub(super) fn new(entry: u64) -> Self {
        Self {
            entry,
            items: Vec::new(),
        }
    }

    /// A child whose FILENAME begins at `begin` and whose node ends at `end`.
    pub(super) fn push(&mut self, name: &[u8], begin: u64, end: u64) {
        self.items.push(Item {
            hash: hash(name),
            begin,
            size: end - begin,
        });
    }

    /// The whole GOODBYE object for the place `at`, which is behind all children.
    pub(super) fn table(mut self, at: u64) -> Vec<u8> {
        let items = self.items.len() as u64 + 1;
        let size = HEADER_SIZE + items * GOODBYE_ITEM;
        self.items.sort_by_key(|item| (item.hash, item.begin));
        let mut words = vec![size, GOODBYE];
        for item in level_order(&self.items) {
            words.extend([at - item.begin, item.size, item.hash]);
        }
        words.extend([at - self.entry, size, GOODBYE_TAIL]);
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// Sorted items in the order of a complete binary search tree, level by level.
fn level_order(sorted: &[Item]) -> Vec<Item> {
    let mut tree = sorted.to_vec();
    let mut next = sorted.iter();
    fill(&mut tree, 0, &mut next);
    tree
}

/// Fills the subtree at `node` from left to right. The depth is the logarithm of the length.
fn fill(tree: &mut [Item], node: usize, next: &mut std::slice::Iter<'_, Item>) {
    if node >= tree.len() {
        return;
    }
    fill(tree, 2 * node + 1, next);
    if let Some(item) = next.next() {
        tree[node] = *item;
    }
    fill(tree, 2 * node + 2, next);
}
