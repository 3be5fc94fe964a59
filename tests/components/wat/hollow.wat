;; Has the export by name, and nothing in it.
(component
  (instance $handler)
  (export "tenterhook:hook/handler@0.1.0" (instance $handler)))
