//! REST in Marathon's shapes: one file a resource.
