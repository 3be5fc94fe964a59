/* `cjson.decode`: written to the documented behaviour of lua-cjson 2.1 with OpenResty's additions. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "lauxlib.h"

/* Their names are in messages. */
typedef enum Token { OBJ_BEGIN, OBJ_END, ARR_BEGIN, ARR_END, STRING, NUMBER, BOOLEAN, NIL, COLON, COMMA, END, WRONG } Token;

static const char *const NAMES[] = {
    "T_OBJ_BEGIN", "T_OBJ_END", "T_ARR_BEGIN", "T_ARR_END", "T_STRING", "T_NUMBER", "T_BOOLEAN", "T_NULL", "T_COLON", "T_COMMA", "T_END",
};

typedef struct Parser {
  lua_State *L;
  const JsonConfig *config;
  /* The text ends with a zero that does not belong to it. */
  const char *text, *at, *end;
  JsonBuffer out;
  int depth;
  /* The last token. */
  Token token;
  const char *start;
  const char *wrong;
  double number;
} Parser;

static Token fail(Parser *p, const char *why) {
  p->wrong = why;
  p->start = p->at;
  return p->token = WRONG;
}

static int four_digits(const char *at) {
  int i, code = 0;
  for (i = 0; i < 4; i++) {
    char digit = at[i];
    if (digit >= '0' && digit <= '9') code = code * 16 + digit - '0';
    else if ((digit | 32) >= 'a' && (digit | 32) <= 'f') code = code * 16 + (digit | 32) - 'a' + 10;
    else return -1;
  }
  return code;
}

static void put_code(JsonBuffer *out, uint32_t code) {
  char text[4];
  size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4, i;
  static const unsigned char LEAD[] = {0, 0x00, 0xc0, 0xe0, 0xf0};
  for (i = len - 1; i > 0; i--, code >>= 6) text[i] = (char)(0x80 | (code & 0x3f));
  text[0] = (char)(LEAD[len] | code);
  json_put(out, text, len);
}

/* `\uXXXX`, or two of them for a code beyond 16 bits. 0: it is wrong. */
static int unicode_escape(Parser *p) {
  int code = four_digits(p->at + 2), low;
  size_t len = 6;
  if (code < 0) return 0;
  if ((code & 0xf800) == 0xd800) {
    if (code & 0x400 || p->at[6] != '\\' || p->at[7] != 'u') return 0;
    low = four_digits(p->at + 8);
    if (low < 0 || (low & 0xfc00) != 0xdc00) return 0;
    code = 0x10000 + ((code & 0x3ff) << 10 | (low & 0x3ff));
    len = 12;
  }
  put_code(&p->out, (uint32_t)code);
  p->at += len;
  return 1;
}

static char short_escape(char letter) {
  static const char PAIRS[] = "\"\"\\\\//b\bt\tn\nf\fr\r";
  size_t i;
  for (i = 0; i + 1 < sizeof(PAIRS); i += 2)
    if (PAIRS[i] == letter) return PAIRS[i + 1];
  return 0;
}

static Token string_token(Parser *p) {
  p->out.len = 0;
  p->at++;
  for (;;) {
    const char *plain = p->at;
    char byte;
    while (*p->at != '"' && *p->at != '\\' && *p->at != 0) p->at++;
    json_put(&p->out, plain, (size_t)(p->at - plain));
    if (*p->at == '"') break;
    if (*p->at == 0) return fail(p, "unexpected end of string");
    if (p->at[1] == 'u') {
      if (!unicode_escape(p)) return fail(p, "invalid unicode escape code");
      continue;
    }
    byte = short_escape(p->at[1]);
    if (byte == 0) return fail(p, "invalid escape code");
    json_put(&p->out, &byte, 1);
    p->at += 2;
  }
  p->at++;
  return p->token = STRING;
}

/* A number that JSON does not have and C reads: NaN, an infinity, hexadecimal, zeros in front. */
static int is_foreign_number(const char *at) {
  if (*at == '+') return 1;
  if (*at == '-') at++;
  if (*at == '0') return (at[1] | 32) == 'x' || (at[1] >= '0' && at[1] <= '9');
  if (*at >= '1' && *at <= '9') return 0;
  return ((at[0] | 32) == 'i' && (at[1] | 32) == 'n' && (at[2] | 32) == 'f') || ((at[0] | 32) == 'n' && (at[1] | 32) == 'a' && (at[2] | 32) == 'n');
}

static Token number_token(Parser *p) {
  char *end;
  p->number = strtod(p->at, &end);
  if (end == p->at) return fail(p, "invalid number");
  p->at = end;
  return p->token = NUMBER;
}

static Token word(Parser *p, const char *name, Token token, double number) {
  size_t len = strlen(name);
  if (strncmp(p->at, name, len) != 0) return fail(p, "invalid token");
  p->at += len;
  p->number = number;
  return p->token = token;
}

static Token one(Parser *p, Token token) {
  p->at++;
  return p->token = token;
}

static Token next(Parser *p) {
  while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r') p->at++;
  p->start = p->at;
  switch (*p->at) {
    case '{': return one(p, OBJ_BEGIN);
    case '}': return one(p, OBJ_END);
    case '[': return one(p, ARR_BEGIN);
    case ']': return one(p, ARR_END);
    case ':': return one(p, COLON);
    case ',': return one(p, COMMA);
    case '"': return string_token(p);
    case 't': return word(p, "true", BOOLEAN, 1);
    case 'f': return word(p, "false", BOOLEAN, 0);
    case 0: return p->at == p->end ? (p->token = END) : fail(p, "invalid token");
    default: break;
  }
  if (*p->at == 'n' && p->at[1] == 'u') return word(p, "null", NIL, 0);
  if (*p->at == '-' || (*p->at >= '0' && *p->at <= '9')) {
    if (!p->config->decode_invalid && is_foreign_number(p->at)) return fail(p, "invalid number");
    return number_token(p);
  }
  if (p->config->decode_invalid && is_foreign_number(p->at)) return number_token(p);
  return fail(p, "invalid token");
}

static void expected(Parser *p, const char *what) {
  const char *found = p->token == WRONG ? p->wrong : NAMES[p->token];
  luaL_error(p->L, "Expected %s but found %s at character %d", what, found, (int)(p->start - p->text) + 1);
}

static void descend(Parser *p) {
  p->depth++;
  if (p->depth > p->config->decode_depth || !lua_checkstack(p->L, 5)) {
    luaL_error(p->L, "Found too many nested data structures (%d) at character %d", p->depth, (int)(p->at - p->text));
  }
}

static void value(Parser *p);

static void object(Parser *p) {
  descend(p);
  lua_newtable(p->L);
  if (next(p) == OBJ_END) {
    p->depth--;
    return;
  }
  for (;;) {
    if (p->token != STRING) expected(p, "object key string");
    lua_pushlstring(p->L, p->out.at, p->out.len);
    if (next(p) != COLON) expected(p, "colon");
    next(p);
    value(p);
    lua_rawset(p->L, -3);
    if (next(p) == OBJ_END) break;
    if (p->token != COMMA) expected(p, "comma or object end");
    next(p);
  }
  p->depth--;
}

static void array(Parser *p) {
  int i;
  descend(p);
  lua_newtable(p->L);
  if (p->config->mark_arrays) {
    lua_pushlightuserdata(p->L, (void *)&JSON_ARRAY_MT);
    lua_rawget(p->L, LUA_REGISTRYINDEX);
    lua_setmetatable(p->L, -2);
  }
  if (next(p) == ARR_END) {
    p->depth--;
    return;
  }
  for (i = 1;; i++) {
    value(p);
    lua_rawseti(p->L, -2, i);
    if (next(p) == ARR_END) break;
    if (p->token != COMMA) expected(p, "comma or array end");
    next(p);
  }
  p->depth--;
}

/* Pushes the value that begins with the last token. */
static void value(Parser *p) {
  switch (p->token) {
    case STRING: lua_pushlstring(p->L, p->out.at, p->out.len); return;
    case NUMBER: lua_pushnumber(p->L, p->number); return;
    case BOOLEAN: lua_pushboolean(p->L, p->number != 0); return;
    case NIL: lua_pushlightuserdata(p->L, NULL); return;
    case OBJ_BEGIN: object(p); return;
    case ARR_BEGIN: array(p); return;
    default: expected(p, "value");
  }
}

void json_decode(lua_State *L, const JsonConfig *config, const char *text, size_t len) {
  Parser parser = {0};
  if (len >= 2 && (text[0] == 0 || text[1] == 0)) luaL_error(L, "JSON parser does not support UTF-16 or UTF-32");
  parser.L = L;
  parser.config = config;
  parser.text = parser.at = text;
  parser.end = text + len;
  json_buffer(&parser.out, L, 256);
  next(&parser);
  value(&parser);
  if (next(&parser) != END) expected(&parser, "the end");
}
