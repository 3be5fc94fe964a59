;; Changes a table, which a snapshot does not hold.
(table $t 1 funcref)
(func (export "prepare") (param i32 i32 i32 i32) (result i32) (table.set $t (i32.const 0) (ref.null func)) (i32.const 6144))
(func $handle (param i32) (result i32) (i32.const 6144))
