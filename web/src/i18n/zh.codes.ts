import type { Codes, Seconds } from "./en.codes";

const soon = (seconds: Seconds) => (seconds ? ` ${seconds} 秒后` : "稍后");

export const codes: Codes = {
  line_full: (seconds) => `现在等待模型的人非常多。请${soon(seconds)}再试。`,
  requests_per_minute: (seconds) => `你一分钟内的提问次数已到上限。请${soon(seconds)}再试。`,
  tokens_per_minute: (seconds) => `你一分钟内使用的词元已到上限。请${soon(seconds)}再试。`,
  tokens_per_day: () => "你今天的词元已用完，UTC 零点后会重新开始。",
  concurrency: () => "你同时进行的回答已到上限。请等一个结束，或停止一个。",
  request_too_large: () => "这次请求需要的词元超过你每分钟的上限。请开始新对话，或少要一些。",
  too_long: () => "这条消息超过了模型一次能读的长度，请缩短。",
  filter_unavailable: () => "过滤器暂时无法判断你的文字，没有它就不会回答。请稍后再试。",
  database_unavailable: () => "服务器无法连接数据库，请稍后再试。",
  same_answers: () => "模型每次都写出相同的回答，没有可排序的内容。请再试。",
  login_wrong: () => "用户名或密码不正确。",
  password_wrong: () => "密码不正确。",
  password_length: () => "密码至少要有十个字符。",
  too_many_tries: (seconds) => `尝试次数太多。请${soon(seconds)}再试。`,
  name_taken: () => "这个用户名已有人使用，请换一个。",
  name_invalid: () => "用户名由小写字母、数字和 . _ @ + - 组成，最多 64 个字符，以字母或数字开头。",
  invitation_needed: () => "注册需要邀请码。",
  invitation_invalid: () => "这个邀请码不存在、已被使用或已过期，请另要一个。",
  last_admin: () => "这是唯一的管理员，请先让别人成为管理员。",
  role_needed: () => "你的账号没有权限这样做。",
  csrf: () => "你在另一个窗口重新登录了，请重新加载页面。",
};
