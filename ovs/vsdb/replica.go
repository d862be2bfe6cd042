package vsdb

import "reflect"

// What is read of a session is read from its replica, not through its client:
// the client would wait for a replica that is filled again if the connection
// is lost meanwhile, and this one never will be. It stays what it was last.

// get looks a row up by its UUID, or its name, and reports whether there is one.
func get[Row any](s *session, table string, row *Row) bool {
	_, found, err := s.replica.Table(table).RowByModel(row)
	if err != nil || found == nil || reflect.ValueOf(found).IsNil() {
		return false
	}
	*row = *found.(*Row)
	return true
}

// list returns all rows of a table. They are the replica's own: read only.
func list[Row any](s *session, table string) []*Row {
	rows := s.replica.Table(table).RowsShallow()
	all := make([]*Row, 0, len(rows))
	for _, row := range rows {
		all = append(all, row.(*Row))
	}
	return all
}

// root returns the row of the Open_vSwitch table.
func (s *session) root() (rootRow, bool) {
	for _, row := range list[rootRow](s, rootTable) {
		return *row, true
	}
	return rootRow{}, false
}
