//! Sans-I/O codecs: bytes to frames to messages and back, whatever way the network cuts them.
