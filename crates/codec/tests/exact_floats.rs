//! Numbers come back as they were sent.

use bowline_codec::{Json, JsonMessage, Message};
use bytes::BytesMut;

// M1
#[test]
fn floats_come_back_as_they_were() {
    // Among them some whose digits a hasty reader takes for a neighbour.
    let values: Vec<f64> = (0..800).map(|at| f64::from(at) * 1.37).collect();
    let mut frame = BytesMut::new();
    Json::new().encode(&values, &mut frame).unwrap();
    assert_eq!(Json::<Vec<f64>>::new().decode(&frame).unwrap(), values);

    let message = JsonMessage::new(values);
    let back = JsonMessage::from_bytes(&message.to_bytes().unwrap()).unwrap();
    assert_eq!(back, message);
}
