package api

import "time"

// Pipeline is the bridge's tables, in the order in which a packet meets them,
// with what they have counted since the bridge was made.
type Pipeline struct {
	// Time is when the counters were read. They may be a second old, and what the
	// datapath forwards by itself comes into them half a second late.
	Time   time.Time `json:"time"`
	Tables []Table   `json:"tables"`
}

// Table is a table of the pipeline.
type Table struct {
	Name string `json:"name"`
	// Stage is the part of the way that the table belongs to: "arrival", "service",
	// "egress", "route", "ingress" or "departure". Job says what it does.
	Stage string `json:"stage"`
	Job   string `json:"job"`
	// Leads are the tables that packets go on to from this one.
	Leads []string `json:"leads"`
	// Drops is true if the table drops all that comes to it.
	Drops bool `json:"drops,omitempty"`
	// Flows is how many flows are in the table, Packets how many packets were looked
	// up in it.
	Flows   uint32 `json:"flows"`
	Packets uint64 `json:"packets"`
	// Objects are the kinds of objects that the table decides by.
	Objects []ObjectCount `json:"objects,omitempty"`
}

// ObjectCount is what the flows for one kind of object have counted in a table.
type ObjectCount struct {
	// Kind is the first part of a flow's object: "ingress-rule".
	Kind string `json:"kind"`
	// Drops is true if these flows drop what they match.
	Drops   bool   `json:"drops,omitempty"`
	Flows   uint32 `json:"flows"`
	Packets uint64 `json:"packets"`
}
