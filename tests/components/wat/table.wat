;; A table that grows for ever.
(table $t 1 funcref)
(func $handle (param i32) (result i32)
  (loop $again
    (drop (table.grow $t (ref.null func) (i32.const 1000)))
    (br $again))
  (unreachable))
