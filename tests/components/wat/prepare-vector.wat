;; A global of 128 bits, which the snapshot tool does not know.
(global $wide (mut v128) (v128.const i64x2 1 2))
(func (export "prepare") (param i32 i32 i32 i32) (result i32) (global.set $wide (v128.const i64x2 3 4)) (i32.const 6144))
(func $handle (param i32) (result i32) (i32.const 6144))
