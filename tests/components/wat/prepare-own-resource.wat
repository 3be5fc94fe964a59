;; Keeps a handle of a resource of its own over `prepare`.
(import "[export]test:odd/things" "[resource-new]thing" (func $new (param i32) (result i32)))
(func (export "test:odd/things#[constructor]thing") (result i32) (call $new (i32.const 0)))
(func (export "prepare") (param i32 i32 i32 i32) (result i32) (drop (call $new (i32.const 0))) (i32.const 6144))
(func $handle (param i32) (result i32) (i32.const 6144))
