use super::{Plain, Template};
use crate::{Options, State, Value};

const DATA: &str = r#"{"some":"data","event":"consumers","operation":"create","rate":4,"limit":3,"entity":{
    "username":"Jane & <b>\"x\"</b> 'y' /z {q}","email":"arya@gameofthrones.com","created_at":1627581878,"f":1.5,"big":1e20,"ok":true,"no":false,
    "tags":["a","b"],"type":0,"gone":null,"small":0.00001,"third":0.1}}"#;

/// Renders in Lua, and without if that can be; both must agree.
fn render(state: &mut State, template: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(DATA).unwrap();
    let data = Value::from_json(DATA).unwrap();
    let shown = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let rendered = Template::compile(state, "t", template.as_bytes()).and_then(|compiled| compiled.render(state, &data));
    let rendered = rendered.map_or_else(|error| format!("error: {}", shown(error)), shown);
    if let Some(plain) = Plain::compile(template.as_bytes()) {
        let fast = plain.render("t", &json).map_or_else(|error| format!("error: {}", shown(error)), shown);
        if !fast.contains("table: 0x") {
            assert_eq!(fast, rendered, "{template}");
        }
    }
    rendered
}

#[test]
fn templates_render_as_lua_resty_template_does() {
    let cases = [
        ("{{ some }}|{{some}}", "data|data"),
        ("{{ entity.username }}", "Jane &amp; &lt;b&gt;&quot;x&quot;&lt;&#47;b&gt; &#39;y&#39; &#47;z {q}"),
        ("{* entity.username *}", "Jane & <b>\"x\"</b> 'y' /z {q}"),
        ("{{ entity.username, true }}", "Jane &amp; &lt;b&gt;&quot;x&quot;&lt;&#47;b&gt; &#39;y&#39; &#47;z &#123;q&#125;"),
        ("[{{ missing }}]|[{* missing *}]", "[]|[]"),
        ("{{ missing or \"none\" }}", "none"),
        ("\\{{ some }}", "{{ some }}"),
        ("\\\\{{ some }}", "\\data"),
        ("x\\{{ some }}{{ some }}\\{% x %}", "x{{ some }}data{% x %}"),
        ("{% if operation == \"create\" then %}NEW{% else %}OLD{% end %}", "NEW"),
        ("{% for i,t in ipairs(entity.tags) do %}\n- {{ t }}\n{% end %}\nend", "- a\n- b\nend"),
        ("a {# comment #}b", "a b"),
        ("{-raw-}{{ some }}{-raw-}", "{{ some }}"),
        ("{-verbatim-}{% x %}{-verbatim-}!", "{% x %}!"),
        ("{{ 1 + 1 }}|{{ string.upper(event) }}|{{ table.concat(entity.tags, \",\") }}", "2|CONSUMERS|a,b"),
        ("{{ entity.created_at }} {{ entity.f }} {{ entity.big }}", "1627581878 1.5 1e+20"),
        ("{{ entity.small }} {{ entity.third }} {{ rate }}", "1e-05 0.1 4"),
        ("{{ entity.ok }}/{{ entity.no }}", "true/false"),
        ("{{ nil }}{{ }}{{}}{**}", ""),
        ("{{ function() return \"fn\" end }}", "fn"),
        ("open {{ some", "open {{ some"),
        ("{ some }", "{ some }"),
        ("{{ some }", "{{ some }"),
        ("{(name)}|{( a , b )}", "name|a"),
        ("{[ some ]}|{[ \"{{ some }}\" ]}", "data|{{ some }}"),
        ("[{{ type }}{{ error }}{{ string }}{* next *}]", "[]"),
        ("{{ type or \"none\" }} {{ entity.type }}", "none 0"),
        ("{{ tostring(rate) .. type(some) }}", "4string"),
        ("{{ context.some }}", "data"),
        ("{* json(entity.tags) *} {* json(some) *}", "[\"a\",\"b\"] \"data\""),
        ("[{{ os }}{{ io }}{{ require }}{{ ngx }}{{ kong }}{{ _G }}{{ setmetatable }}]", "[]"),
        ("{{ entity.gone }}{{ some.upper }}{{ some.nothing }}", ""),
        ("{% local x = 1 -- why %}{{ x }}", "1"),
        ("{% x = rate %}{{ x }}", "4"),
        ("{{ entity . email }}", "arya@gameofthrones.com"),
        ("a\r\nb\r", "a\r\nb\r"),
        ("{{ some:upper():lower() }}", "data"),
        ("", ""),
    ];
    let mut state = State::new(&Options::default()).unwrap();
    for (template, expected) in cases {
        assert_eq!(render(&mut state, template), expected, "{template}");
    }
    assert!(render(&mut state, "{{ entity }}").starts_with("table: 0x"));
}

#[test]
fn errors_are_lua_s_with_the_line_of_the_template() {
    let cases = [
        ("{{ missing.x }}", "error: [string \"t\"]:1: attempt to index global 'missing' (a nil value)"),
        ("a\nb{{ entity.nope.x }}", "error: [string \"t\"]:2: attempt to index field 'nope' (a nil value)"),
        ("{# \n #}\n{{ rate.x }}", "error: [string \"t\"]:3: attempt to index global 'rate' (a number value)"),
        ("{% for i = 1, 1 do %}\n\n{{ entity.ok.x }}{% end %}", "error: [string \"t\"]:3: attempt to index field 'ok' (a boolean value)"),
        ("{{ os.execute(\"x\") }}", "error: [string \"t\"]:1: attempt to index global 'os' (a nil value)"),
        ("{-block-}x{-block-}", "error: [string \"t\"]: blocks are not supported: {-block-}"),
        ("a]=]b", "error: [string \"t\"]: a text must not hold ']=]'"),
    ];
    let mut state = State::new(&Options::default()).unwrap();
    for (template, expected) in cases {
        assert_eq!(render(&mut state, template), expected, "{template}");
    }
    for template in ["{{{ some }}}", "{{ some + }}", "{% bad lua %}", "{% if x then %}"] {
        assert!(render(&mut state, template).starts_with("error: [string \"t\"]:1: "), "{template}: {}", render(&mut state, template));
    }
    assert!(render(&mut state, "\u{1b}Lua").ends_with("Lua"), "bytecode is text");
}
