//! grub-env
