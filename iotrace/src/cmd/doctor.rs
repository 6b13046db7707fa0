//! `iotrace doctor`: what works here.
