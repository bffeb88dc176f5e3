//! Attribute macros of Bowline; use them through the bowline facade.
