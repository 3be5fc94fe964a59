;; Makes handles of a resource of its own, without end.
(import "[export]test:odd/things" "[resource-new]thing" (func $new (param i32) (result i32)))
(func (export "test:odd/things#[constructor]thing") (result i32) (call $new (i32.const 0)))
(func $handle (param i32) (result i32)
  (loop $again (drop (call $new (i32.const 0))) (br $again))
  (unreachable))
