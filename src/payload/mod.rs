//! Visible events to bytes, once for everybody who gets the same ones.

mod frame;

pub use frame::Frame;
