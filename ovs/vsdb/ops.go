package vsdb

import (
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Operations that libovsdb has no builder for, or only one that needs the row
// in the replica.

func where(column string, function ovsdb.ConditionFunction, value any) []ovsdb.Condition {
	return []ovsdb.Condition{ovsdb.NewCondition(column, function, value)}
}

// require makes a transaction fail if no row of the table has the name.
func require(table, name string) ovsdb.Operation {
	return wait(table, where("name", ovsdb.ConditionEqual, name), ovsdb.WaitConditionEqual, ovsdb.Row{"name": name})
}

// requireNone makes a transaction fail if a row of the table has the name.
func requireNone(table, name string) ovsdb.Operation {
	return wait(table, where("name", ovsdb.ConditionEqual, name), ovsdb.WaitConditionNotEqual, ovsdb.Row{"name": name})
}

// requireNoPortWith makes a transaction fail if a port has the external id.
//
// The plain way to say so, to wait for "no rows", is lost in libovsdb's JSON,
// which drops an empty list. So it is turned round: the rows must differ from
// those such ports would give. fake_bridge is false in each of them, and equal
// rows count as one.
func requireNoPortWith(key, value string) ovsdb.Operation {
	ids := ovsdb.OvsMap{GoMap: map[any]any{key: value}}
	return wait(portTable, where("external_ids", ovsdb.ConditionIncludes, ids), ovsdb.WaitConditionNotEqual,
		ovsdb.Row{"fake_bridge": false})
}

func wait(table string, cond []ovsdb.Condition, until ovsdb.WaitCondition, row ovsdb.Row) ovsdb.Operation {
	now := 0 // ms
	columns := make([]string, 0, len(row))
	for column := range row {
		columns = append(columns, column)
	}
	return ovsdb.Operation{
		Op: ovsdb.OperationWait, Table: table, Where: cond, Columns: columns,
		Until: string(until), Rows: []ovsdb.Row{row}, Timeout: &now,
	}
}

// attachPort puts a port, by its UUID or the name of its insertion, into a
// bridge.
func attachPort(bridge, port string) ovsdb.Operation {
	return mutate(bridgeTable, where("name", ovsdb.ConditionEqual, bridge),
		"ports", ovsdb.MutateOperationInsert, ovsdb.UUID{GoUUID: port})
}

// detachPort takes a port out of its bridge. The server then deletes the Port
// row and its Interface, as nothing refers to them any more.
func detachPort(port string) ovsdb.Operation {
	uuid := ovsdb.UUID{GoUUID: port}
	return mutate(bridgeTable, where("ports", ovsdb.ConditionIncludes, uuid),
		"ports", ovsdb.MutateOperationDelete, uuid)
}

func mutate(table string, cond []ovsdb.Condition, column string, mutator ovsdb.Mutator, value any) ovsdb.Operation {
	return ovsdb.Operation{
		Op: ovsdb.OperationMutate, Table: table, Where: cond,
		Mutations: []ovsdb.Mutation{*ovsdb.NewMutation(column, mutator, value)},
	}
}
