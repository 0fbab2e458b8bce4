// Problems that a page seldom has, or only a program. Fetched when the first of them is answered, so that no
// refusal is shown raw and the first page does not carry them.
import { addTexts } from './i18n.js';

addTexts({
  'problem.too_often': ['一天之内已结束过这个账号的登录两次。如须阻止其使用，请提请停用。', 'You ended this account’s sessions twice within a day. If its owner must stay out, ask for it to be disabled.'],
  'problem.refused_twice': ['同样的申请一周内已被拒绝两次，请由另一位管理员提请。', 'This was refused to you twice within a week; another administrator may ask for it.'],
  'problem.retired': ['这个单位已停用，请先恢复，或选别的单位。', 'This site is retired: restore it first, or choose another.'],
  'problem.still_used': ['名下还有在用的东西，不能停用。', 'Something in use is there, so it cannot be retired.'],
  'problem.foreign_request': ['这个写请求来自其他网站的页面，没有执行。请在本系统的页面上操作。', 'This write came from another site’s page and was not done. Use the pages of this system.'],
  'problem.bad_request': ['请求的内容不对，请检查所填内容后再试。', 'The request is not right; check what was entered and try again.'],
  'problem.not_json': ['请求的格式不对。', 'The request has the wrong format.'],
  'problem.wrong_method': ['这里不接受这种请求。', 'This does not take that kind of request.'],
  'problem.too_many_views': ['常用视图每页最多 20 个、每个账号最多 100 个，请先删掉不用的。', 'An account keeps 20 views of a page and 100 in all; remove one first.'],
  'problem.failed': ['没有办成，控制器日志中有原因。', 'It failed; the controller’s log says why.'],
  'problem.in_progress': ['同一个请求还在处理，请稍候。', 'The same request is being worked on; wait a moment.'],
  'problem.key_reused': ['这个幂等键已用于另一个请求，请换一个。', 'That idempotency key was used for another request; choose another.'],
  'problem.bad_key': ['幂等键的格式不对。', 'The idempotency key has the wrong format.'],
  'problem.too_many_keys': ['幂等键用得太多，请过些时候再试。', 'Too many idempotency keys; try again later.'],
  'problem.answer_not_kept': ['这个请求已办过，但答复没有保留，请查看结果。', 'This request was done, but its answer was not kept; look at the result.'],
  'problem.outcome_unknown': ['不知道这个请求是否已办成，请先查看结果，再决定是否重试。', 'Whether this request was done is not known; look at the result before you try again.'],
  'problem.identity_failed': ['控制器的证书机构出错，详见其日志。', 'The controller’s certificate authority failed; its log says more.'],
  'problem.metrics_failed': ['读取控制器自身的指标出错，详见其日志。', 'The controller’s own metrics could not be read; its log says more.'],
  'problem.no_qr': ['内容太长，生成不了二维码。', 'This is too long for a QR code.'],
  'problem.password_not_hashed': ['密码没有保存成，详见控制器日志。', 'The password could not be kept; the controller’s log says more.'],
  'problem.password_not_made': ['生成不了密码，详见控制器日志。', 'No password could be made; the controller’s log says more.'],
  'problem.password_resources': ['控制器内存不足，密码没有保存成。', 'The controller lacks memory for the password.'],
  'problem.password_unreadable': ['保存的密码已损坏，请由管理员重置。', 'The stored password is damaged; have it reset.'],
  'problem.secret_unreadable': ['保存的密钥解不开，请由管理员重置二次验证。', 'A stored secret cannot be opened; have the second factor reset.'],
});
