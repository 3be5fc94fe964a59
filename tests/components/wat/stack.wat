;; Calls itself without end, with nothing in memory: only the host's stack grows.
(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (i32.add (local.get 0) (i32.const 1)))))
(func $handle (param i32) (result i32) (call $deep (i32.const 0)))
