//! The JSON Schemas of what billing receives, from the types that write it.
//!
//! A schema promises what every event has. It may promise more in time, and never less: `tests/schemas.rs` compares it
//! with what was promised first, and with every event that was ever written.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{
    DATA_SCHEMA, Envelope, EventData, SNAPSHOT_SCHEMA, SNAPSHOT_TYPE, SnapshotData, VOID_SCHEMA, VOID_TYPE, VoidData,
};

/// The schema of a whole message.
const EVENT_SCHEMA: &str = "https://trueup.dev/schemas/event.v1.json";

/// A schema, as it is published.
#[derive(Clone, PartialEq, Debug)]
pub struct Published {
    /// The last part of its id, which is also the name of its file.
    pub name: String,
    /// The schema.
    pub schema: Value,
}

/// All of them: one for the data of each type of event, and one for a whole message of any type.
pub fn published() -> Vec<Published> {
    let mut transition = schema_of::<EventData>();
    // Absent only while it is being computed.
    require(&mut transition, "hash");
    transition["properties"]["hash"]["description"] = json!("The hash of this one.");
    never_null(&mut transition, "hash");
    never_null(&mut transition, "amends");
    let data = [
        (DATA_SCHEMA, transition, "A transition: a resource's state changed, or what is billed for it."),
        (VOID_SCHEMA, schema_of::<VoidData>(), "A void: it takes the place of a transition that is not sent."),
        (
            SNAPSHOT_SCHEMA,
            schema_of::<SnapshotData>(),
            "A snapshot: how things stand, for a receiver whose stream begins here.",
        ),
    ];
    let data = data.into_iter().map(|(id, schema, title)| publish(id, title, schema));
    data.chain([publish(EVENT_SCHEMA, "A CloudEvent, as it is sent.", message())]).collect()
}

/// The envelope, and for each type which data it holds.
fn message() -> Value {
    let mut envelope = schema_of::<Envelope<()>>();
    let fixed = [("datacontenttype", "application/json"), ("specversion", "1.0")];
    for (name, value) in fixed {
        envelope["properties"][name]["const"] = json!(value);
    }
    let kinds = |pattern: &str, schema: &str| {
        json!({
            "properties": {
                "type": { "pattern": pattern }, "dataschema": { "const": schema }, "data": { "$ref": schema },
            },
        })
    };
    let exactly = |name: &str| format!("^{}$", name.replace('.', "\\."));
    envelope["properties"]["data"] = json!({ "type": "object" });
    envelope["oneOf"] = json!([
        kinds("^dev\\.trueup\\.[a-z]+\\.transition\\.v1$", DATA_SCHEMA),
        kinds(&exactly(VOID_TYPE), VOID_SCHEMA),
        kinds(&exactly(SNAPSHOT_TYPE), SNAPSHOT_SCHEMA),
    ]);
    envelope
}

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Written with a value or not at all.
fn never_null(schema: &mut Value, name: &str) {
    if let Some(types) = schema["properties"][name]["type"].as_array() {
        let value = types.iter().find(|one| *one != "null").cloned();
        schema["properties"][name]["type"] = value.unwrap_or_default();
    }
}

fn require(schema: &mut Value, name: &str) {
    if let Some(required) = schema["required"].as_array_mut() {
        required.push(json!(name));
        required.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
}

fn publish(id: &str, title: &str, mut schema: Value) -> Published {
    schema["$id"] = json!(id);
    schema["title"] = json!(title);
    // What the type says of itself is for those who read the source.
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("description");
    }
    let name = id.rsplit('/').next().unwrap_or(id).to_owned();
    Published { name, schema }
}
