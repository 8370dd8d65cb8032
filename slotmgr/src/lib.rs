//! slotmgr
