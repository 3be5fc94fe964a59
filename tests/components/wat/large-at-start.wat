;; Wants more memory than there is before it does anything.
(memory 2000)
(func $handle (param i32) (result i32) (unreachable))
