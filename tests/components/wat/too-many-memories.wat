;; One memory more than a component may have.
(memory 1) (memory 1) (memory 1) (memory 1)
(func $handle (param i32) (result i32) (unreachable))
